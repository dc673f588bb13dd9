"""Tables of other projects: OFA's published YAML.

A file holds one resolution, an entry a block: ``expanded_conv-input:112x112x24-output:56x56x32-expand:144-
kernel:3-stride:2-idskip:0-se:0-hs:0`` with the count, mean and standard deviation of its times in ms. The
layout is that of the Once-for-All project (mit-han-lab/once-for-all, Cai et al., arXiv:1908.09791), whose Note10
table is of width multiplier 1.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from backends.base import Measurement, Target
from compofa.blocks import Block
from compofa.families import Family, get_family
from compofa.spaces import get_space
from lut.store import Header
from lut.table import Table

OFA_FAMILY = "imagenet-w1.2"
OFA_SUFFIXES = (".yaml", ".yml")
Moments = tuple[float, float, float]
"""Count, mean and standard deviation (ms) of a block's runs."""


def ofa_key(block: Block) -> str:
    """The name of `block` in an OFA table.

    The 1x1 convolution before the pool is told from the stem by its kernel.
    """
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


def read_ofa(path: Path, family: str = OFA_FAMILY) -> Table:
    """The table in an OFA file, or in all the OFA files of a folder.

    Args:
        path: a ``.yaml`` file, or a folder of some.
        family: whose blocks the entries must be.

    Returns:
        A table of the target ``ofa-yaml`` on the device that the file's or folder's name says; every entry
        counts as measured, its interval that of the mean.

    Raises:
        ValueError: no such file in the folder, or one that is no such table, or of another width; names the
            file and the entry.
        OSError: it cannot be read.
    """
    files = sorted(p for p in path.iterdir() if p.suffix in OFA_SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path} holds no OFA table (no {' or '.join(OFA_SUFFIXES)} file)")
    known = {ofa_key(block): block for block in get_space("ofa", get_family(family)).all_blocks()}
    found: dict[Block, list[Moments]] = {}
    for file in files:
        for key, fields in _load_yaml(file).items():
            if key not in known:
                raise ValueError(f"{file}: {key} is no block of {family}: is the table of another width?")
            found.setdefault(known[key], []).append(_moments(file, key, fields))
    entries = {block: _pool(moments) for block, moments in found.items()}
    header = Header(
        target=Target(backend="ofa-yaml", device=path.stem, threads=0),
        family=family,
        space="ofa",
        resolutions=_resolutions(get_family(family), entries),
        created="",
    )
    return Table(header, entries)


def _load_yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{file} is not an OFA table: it holds no entries")
    return content


def _moments(file: Path, key: str, fields: Any) -> Moments:
    try:
        count, mean, std = (float(fields[name]) for name in ("count", "mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: {key} needs numbers count, mean and std") from error
    if not (math.isfinite(mean) and mean > 0 and count >= 1 and math.isfinite(std) and std >= 0):
        raise ValueError(f"{file}: {key} has no positive mean (count {count:g}, mean {mean:g}, std {std:g})")
    return count, mean, std


def _pool(moments: list[Moments]) -> Measurement:
    """All runs of a block together: what comes after the pool is timed again in the file of each resolution."""
    total = sum(count for count, _, _ in moments)
    mean = sum(count * mean for count, mean, _ in moments) / total
    square = sum(count * (std**2 + (m - mean) ** 2) for count, m, std in moments) / total
    half = 1.96 * math.sqrt(square / total)
    return Measurement("measured", mean, max(mean - half, 0.0), mean + half)


def _resolutions(family: Family, entries: Iterable[Block]) -> tuple[int, ...]:
    """The sides of the stems' inputs."""
    return tuple(sorted({b.in_shape[1] for b in entries if b.in_shape[0] == family.in_channels}))
