"""OFA's published tables: YAML, one file a resolution.

An entry a block: ``expanded_conv-input:112x112x24-output:56x56x32-expand:144-kernel:3-stride:2-idskip:0-se:0-
hs:0`` with the count, mean and standard deviation of its times in ms. The layout is that of the Once-for-All
project (mit-han-lab/once-for-all, Cai et al., arXiv:1908.09791), whose Note10 table is of width multiplier 1.2.

The layout says neither the target nor the width, so the width is told by the blocks, and a file that we write
carries the target as a comment. Entries that were not measured carry ``origin`` besides, which readers of the
published layout ignore.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from backends.base import Measurement, Target
from compofa.blocks import Block, check_kind
from compofa.errors import InputError
from compofa.families import FAMILIES, Family, get_family
from compofa.spaces import get_space
from lut.store import Header
from lut.table import Table

SUFFIXES = (".yaml", ".yml")
Z95 = 1.96
"""Standard errors in half of a 95 % interval."""
Moments = tuple[str, float, float, float]
"""Origin, count, mean and standard deviation (ms) of a block's runs."""


def ofa_key(block: Block) -> str:
    """The name of `block` in an OFA table.

    The 1x1 convolution before the pool is told from the stem by its kernel.
    """
    check_kind("OFA's layout of tables", block, ("conv", "mbconv", "pool", "mix", "linear"))
    kind = {"pool": "AvgPool2D", "mix": "Conv_2", "linear": "Logits"}.get(block.kind)
    kind = kind or ("expanded_conv" if block.kind == "mbconv" else "Conv" if block.kernel > 1 else "Conv_1")
    output = str(block.out_channels) if block.kind == "linear" else _shape(block.out_shape)
    key = f"{kind}-input:{_shape(block.in_shape)}-output:{output}"
    if block.kind != "mbconv":
        return key
    return (
        f"{key}-expand:{block.hidden_channels}-kernel:{block.kernel}-stride:{block.stride}"
        f"-idskip:{block.shortcut:d}-se:{block.se:d}-hs:{block.act == 'hswish':d}"
    )


def _shape(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width}x{channels}"


# --- reading ---


def read_ofa(path: Path, family: str | None = None) -> Table:
    """The table in an OFA file, or in all the OFA files of a folder.

    Args:
        path: a ``.yaml`` file, or a folder of some. A name that begins with a number says the resolution.
        family: whose blocks the entries must be; told by the entries unless given.

    Returns:
        A table of the target ``ofa-yaml`` on the device that the file's or folder's name says; an entry without
        an origin counts as measured, its interval that of the mean.

    Raises:
        ValueError: no such file in the folder, or one that is no such table, or of another width or resolution;
            names the file and the entry.
        OSError: it cannot be read.
    """
    files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} holds no OFA table (no {' or '.join(SUFFIXES)} file)")
    contents = {file: _load_yaml(file) for file in files}
    owner = get_family(family) if family else _guess_family(contents.values())
    space = get_space("ofa", owner)
    known = {ofa_key(block): block for block in space.all_blocks()}
    found: dict[Block, dict[Moments, None]] = {}
    for file, entries in contents.items():
        side = _resolution_in_name(file)
        here = {ofa_key(b) for b in space.all_blocks((side,))} if side in owner.resolutions else known.keys()
        for key, fields in entries.items():
            if key not in known:
                raise InputError(f"{file}: {key} is no block of {owner.name}{_other_owner(key, owner)}")
            if key not in here:
                raise InputError(f"{file}: {key} is no block at {side} px, as the file's name says")
            # Equal to the last digit, runs are the same ones: a block after the pool is in every file.
            found.setdefault(known[key], {})[_moments(file, key, fields)] = None
    header = Header(
        target=Target(backend="ofa-yaml", device=path.stem, threads=0),
        family=owner.name,
        space="ofa",
        resolutions=_resolutions(owner, found),
        created="",
    )
    return Table(header, {block: _pool(list(moments)) for block, moments in found.items()})


def _guess_family(contents: Iterable[Mapping[str, Any]]) -> Family:
    """The family that knows most of the entries."""
    keys = {key for entries in contents for key in entries}
    return max(FAMILIES.values(), key=lambda family: len(keys & _keys(family)))


def _keys(family: Family) -> set[str]:
    return {ofa_key(block) for block in get_space("ofa", family).all_blocks()}


def _other_owner(key: str, family: Family) -> str:
    owners = [other.name for other in FAMILIES.values() if other is not family and key in _keys(other)]
    return (
        f": the table is of {' or '.join(owners)}, another width"
        if owners
        else ": is the table of another width?"
    )


def _resolution_in_name(file: Path) -> int:
    """The number that the file's name begins with, 0 if none."""
    return int(match[0]) if (match := re.match(r"\d{1,9}", file.name)) else 0


def _load_yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"{file} is not an OFA table: it holds no entries")
    return content


def _moments(file: Path, key: str, fields: Any) -> Moments:
    try:
        if unknown := fields.keys() - {"count", "mean", "std", "origin"}:
            raise InputError(f"{file}: {key} has {sorted(map(str, unknown))[0]}, which no OFA table has")
        count, mean, std = (fields[name] for name in ("count", "mean", "std"))
    except (AttributeError, KeyError) as error:
        raise InputError(f"{file}: {key} needs numbers count, mean and std") from error
    if not all(type(number) in (int, float) for number in (count, mean, std)):
        raise InputError(f"{file}: {key} needs numbers count, mean and std, not {count!r}, {mean!r}, {std!r}")
    if not (math.isfinite(mean) and mean > 0 and 1 <= count < math.inf and math.isfinite(std) and std >= 0):
        raise InputError(f"{file}: {key} has no positive mean (count {count:g}, mean {mean:g}, std {std:g})")
    origin = fields.get("origin", "measured")
    if origin not in Measurement.ORIGINS:
        raise InputError(f"{file}: {key} has an unknown origin {origin!r}")
    return str(origin), float(count), float(mean), float(std)


def _pool(moments: list[Moments]) -> Measurement:
    """All runs of a block together: what comes after the pool is timed again in the file of each resolution."""
    total = math.fsum(count for _, count, _, _ in moments)
    first = moments[0][2]  # differences from it, so that a single mean stays what it is to the last digit
    mean = first + math.fsum(count * (mean - first) for _, count, mean, _ in moments) / total
    square = math.fsum(count * (std**2 + (m - mean) ** 2) for _, count, m, std in moments) / total
    half = Z95 * math.sqrt(square / total)
    origin = max((origin for origin, *_ in moments), key=Measurement.ORIGINS.index)
    return Measurement(origin, mean, max(mean - half, 0.0), mean + half)


def _resolutions(family: Family, entries: Iterable[Block]) -> tuple[int, ...]:
    """The sides of the stems' inputs."""
    return tuple(sorted({b.in_shape[1] for b in entries if b.in_shape[0] == family.in_channels}))


# --- writing ---


def write_ofa(table: Table, folder: Path) -> list[Path]:
    """Write `table` as OFA files into `folder`, which is made if need be: ``160_lookup_table.yaml`` and so on.

    Only resolutions at which some whole space is there are written. The mean is the table's latency; the count
    that of its rounds; the standard deviation such that the mean's 95 % interval is as wide as the table's.

    Returns:
        The files, by resolution.

    Raises:
        MissingEntry: the table is complete at no resolution.
        OSError: a file cannot be written.
    """
    space = table.widest_space()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for resolution in table.complete_resolutions(space):
        path = folder / f"{resolution}_lookup_table.yaml"
        entries = sorted((ofa_key(block), table.entries[block]) for block in space.all_blocks((resolution,)))
        about = f"# {table.header.family}, {resolution} px, ms; target {json.dumps(table.target.to_dict())}\n"
        path.write_text(about + "".join(_entry(key, measurement) for key, measurement in entries))
        written.append(path)
    return written


def _entry(key: str, measurement: Measurement) -> str:
    count = max(len(measurement.rounds_ms), 1)
    std = (measurement.high_ms - measurement.low_ms) / (2 * Z95) * math.sqrt(count)
    origin = "" if measurement.origin == "measured" else f"  origin: {measurement.origin}\n"
    return f"{key}:\n  count: {count}\n  mean: {_number(measurement.latency_ms)}\n  std: {_number(std)}\n{origin}"


def _number(value: float) -> str:
    """As YAML 1.1 reads it back: its floats need a point before the exponent."""
    text = repr(float(value))
    return text if "." in text or "e" not in text else text.replace("e", ".0e")
