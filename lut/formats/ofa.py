"""OFA's published tables: YAML, one file a resolution.

An entry a block: ``expanded_conv-input:112x112x24-output:56x56x32-expand:144-kernel:3-stride:2-idskip:0-se:0-
hs:0`` with the count, mean and standard deviation of its times in ms. The layout is that of the Once-for-All
project (mit-han-lab/once-for-all, Cai et al., arXiv:1908.09791), whose Note10 table is of width multiplier 1.2.

The same layout is found as JSON, and with the variance, ``var``, in place of the deviation; both are read. In
ProxylessNAS's table ``expand`` is the ratio, nothing is said of SE, and the classifier's entry holds the pooling, too.

The layout says neither the target nor the width, so the width is told by the blocks, and a file that we write
carries the target as a comment, with a checksum of the rest. Entries that were not measured carry ``origin``
besides, which readers of the published layout ignore.

Several resolutions have blocks in common, such as the classifier, and each file times them anew. What each file says
is kept: the file of the largest resolution gives the block's entry, the others give exceptions
(:class:`lut.table.Table`), so that a network's sum is that of the file of its resolution, to the last digit.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backends.base import Measurement, Target
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.files import parse_json, parse_yaml, read_bounded
from compofa.spaces.family import Family
from compofa.spaces.registry import FAMILIES, get_family
from lut.formats.ofa_keys import keys_of
from lut.header import Header
from lut.kinds import kind_of
from lut.lines import LONGEST_MS, check_measurement
from lut.table import Table

YAML_SUFFIXES = (".yaml", ".yml")
SUFFIXES = (*YAML_SUFFIXES, ".json")
Z95 = 1.96
"""Standard errors in half of a 95 % interval."""
BACKEND = "ofa-yaml"
"""Of the target of a table that was read from such files: nobody can measure with it."""
MOST_FILES = 1000
"""In a folder."""


def read_ofa(path: Path, family: str | None = None) -> Table:
    """The table in an OFA file, or in all the OFA files of a folder.

    Args:
        path: a ``.yaml`` or ``.json`` file, or a folder of some. A name that begins with a number says the resolution.
        family: whose blocks the entries must be; told by the entries unless given.

    Returns:
        A table of the target ``ofa-yaml`` on the device that the file's or folder's name says; an entry without
        an origin counts as measured, its interval that of the mean.

    Raises:
        ValueError: no such file in the folder, or one that is no such table, or of another width or resolution;
            names the file and the entry.
        OSError: it cannot be read.
    """
    files = [_read_file(file) for file in _files(path)]
    owner = _owner(files, family)
    built = owner.with_resolutions(_images(owner, files))
    known = keys_of(built)
    found: dict[Block, dict[int, Measurement]] = {}
    for file in files:
        here = keys_of(built, (file.side,)) if file.side in built.resolutions else known
        for key, fields in file.entries.items():
            if key not in known:
                raise InputError(
                    f"{file.path}: {key} is no block of {owner.name}{_what_it_is(key, owner, file)}"
                )
            if key not in here:
                raise InputError(f"{file.path}: {key} is no block at {file.side} px, as the file's name says")
            found.setdefault(known[key], {})[file.side] = _measurement(f"{file.path}: {key}", fields)
    header = Header(
        target=Target(backend=BACKEND, device=path.stem, threads=0),
        family=owner.name,
        space="ofa",
        resolutions=_resolutions(owner, found),
        created="",
        classes=None if owner == get_family(owner.name) else owner.classes,
    )
    # The files come by resolution: the last one is that of the largest.
    entries = {block: list(by_side.values())[-1] for block, by_side in found.items()}
    exceptions = {
        (side, block): m
        for block, by_side in found.items()
        for side, m in by_side.items()
        if m != entries[block]
    }
    return Table(header, entries, exceptions=exceptions)


@dataclass(frozen=True)
class _File:
    """One file's entries, not yet looked at.

    Args:
        path: of the file.
        side: the resolution in pixels, by its name or else by the image that an entry of it takes; 0 if neither says.
        entries: by key.
        about: the comment of ours that it begins with.
    """

    path: Path
    side: int
    entries: dict[str, Any]
    about: str


def _files(path: Path) -> list[Path]:
    """The files that `path` means."""
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise InputError(f"{path} holds no OFA table (no {', '.join(SUFFIXES)} file)")
    if len(found) > MOST_FILES:
        raise InputError(f"{path} holds {len(found)} files: that is no folder of OFA tables")
    return found


def _read_file(path: Path) -> _File:
    content = read_bounded(path)
    kind = kind_of(content)
    try:
        if kind:
            raise InputError(f"it is {kind}")
        entries = parse_json(content) if path.suffix.lower() == ".json" else _parse_yaml(content)
    except InputError as error:
        raise InputError(f"{path} is no OFA table: {error}") from None
    if not isinstance(entries, dict) or not entries:
        raise InputError(f"{path} is no OFA table: it holds no entries")
    about = content.split(b"\n", 1)[0].decode(errors="replace") if content.startswith(b"#") else ""
    return _File(path, _side(path, entries), entries, about)


def _parse_yaml(content: bytes) -> Any:
    """The entries in a YAML file.

    Raises:
        ValueError: it is no YAML, is cut short, or is ours and was changed.
    """
    about, _, rest = content.partition(b"\n")
    if (match := OURS.match(about)) and match[1] != checksum_of(rest):
        raise InputError(
            "it was cut short, damaged or changed after it was written: its checksum does not fit. Convert the table "
            "anew; or delete its first line if the change is meant"
        )
    entries = parse_yaml(content)
    if content and not content.rstrip(b" \t").endswith((b"\n", b"\r", b"}", b"...")):
        raise InputError("its last line has no end: the file is cut short")
    return entries


OURS = re.compile(rb"# .*; crc32 ([0-9a-f]{8})$")
"""The comment that a file of ours begins with; that of version 0.1.0 had no checksum."""


def checksum_of(content: bytes) -> bytes:
    return b"%08x" % zlib.crc32(content)


def _side(path: Path, entries: Mapping[Any, Any]) -> int:
    """The resolution that the file's name begins with, or that its entries say; 0 if neither does."""
    if match := re.match(r"\d{1,9}(?!\d)", path.name):
        return int(match[0])
    images = _image_sides(entries)
    return images.pop() if len(images) == 1 else 0


def _image_sides(keys: Iterable[Any]) -> set[int]:
    """Of the images that stems among the entries take."""
    return {int(m[1]) for key in keys if (m := re.match(r"Conv-input:(\d{1,9})x\1x3-", str(key)))}


def _images(owner: Family, files: list[_File]) -> tuple[int, ...]:
    """The resolutions that the files are of, also where they are none of the family's own."""
    return tuple(
        filter(owner.takes_side, sorted(_image_sides(key for file in files for key in file.entries)))
    )


def _owner(files: list[_File], family: str | None) -> Family:
    """The family whose blocks the files hold, with the classes that they say; the files are put in order."""
    files.sort(key=lambda file: file.side)
    taken: dict[tuple[int, str], Path] = {}
    for file in files:
        for key in file.entries:
            if (other := taken.setdefault((file.side, str(key)), file.path)) != file.path:
                raise InputError(f"{other} and {file.path} are of one resolution: keep one of them")
    targets = {_target_text(file.about): file.path for file in files if _target_text(file.about)}
    if len(targets) > 1:
        first, second = list(targets.values())[:2]
        raise InputError(f"{first} and {second} are of different targets, as their first lines say")
    keys = {str(key) for file in files for key in file.entries}
    classes = {int(m[1]) for key in keys if (m := re.fullmatch(r"Logits-.*-output:(\d{1,7})", key))}
    if len(classes) > 1:
        raise InputError(
            f"{files[0].path.parent}: the tables are of {' and of '.join(map(str, sorted(classes)))} classes"
        )
    if family is None:
        family = max(FAMILIES, key=lambda name: len(keys & keys_of(_with(get_family(name), classes)).keys()))
    return _with(get_family(family), classes)


def _with(family: Family, classes: set[int]) -> Family:
    return replace(family, classes=next(iter(classes))) if classes and 0 not in classes else family


def _target_text(about: str) -> str:
    match = re.search(r"; target (\{.*\})", about)
    return match[1] if match else ""


def _what_it_is(key: str, family: Family, file: _File) -> str:
    """What else `key`, an entry of `file`, may be a block of, for a message."""
    for other in FAMILIES.values():
        if key in keys_of(other):
            return f": the table is of {other.name}, another width"
    if any(str(k).startswith("expanded_conv-") and "-se:" not in str(k) for k in file.entries):
        there = ", ".join(FAMILIES)
        return (
            ". Its blocks have no se and hs, and an expand ratio for the hidden channels: it is a table of "
            f"ProxylessNAS or MobileNetV2, of another kind or width than those that hwbench has (there are {there}). "
            "Write its family down (--family FILE.toml), or build a table with hwbench build_lut on the device"
        )
    return ": is the table of another width, or of another kind of network?"


def _measurement(where: str, fields: Any) -> Measurement:
    """What an entry says; the interval is that of the mean, the count and the deviation are kept as details."""
    try:
        if unknown := fields.keys() - {"count", "mean", "std", "var", "origin"}:
            raise InputError(f"{where} has {str(sorted(map(str, unknown))[0])[:40]}, which no OFA table has")
        count, mean = fields["count"], fields["mean"]
        spread = fields["std"] if "std" in fields else fields["var"]
    except (AttributeError, KeyError):
        raise InputError(f"{where} needs numbers count, mean and std (or var)") from None
    if {"std", "var"} <= fields.keys():
        raise InputError(f"{where} has std and var: keep one")
    if not all(type(number) in (int, float) for number in (count, mean, spread)):
        raise InputError(
            f"{where} needs numbers count, mean and std, not {count!r:.40}, {mean!r:.40}, {spread!r:.40}"
        )
    if not (0 < mean < LONGEST_MS and 1 <= count < LONGEST_MS and 0 <= spread < LONGEST_MS):
        raise InputError(
            f"{where} has no positive mean (count {count!s:.40}, mean {mean!s:.40}, std {spread!s:.40})"
        )
    std = float(spread) if "std" in fields else math.sqrt(spread)
    half = Z95 * std / math.sqrt(count)
    measurement = Measurement(
        str(fields.get("origin", "measured")),
        float(mean),
        max(float(mean) - half, 0.0),
        float(mean) + half,
        details=(("count", count), ("std_ms", std), *((("var_ms2", spread),) if "var" in fields else ())),
    )
    try:
        check_measurement(measurement)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return measurement


def _resolutions(family: Family, entries: Iterable[Block]) -> tuple[int, ...]:
    """The sides of the stems' inputs."""
    return tuple(sorted({b.in_shape[1] for b in entries if b.in_shape[0] == family.in_channels}))
