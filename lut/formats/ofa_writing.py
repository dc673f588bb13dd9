"""Writing OFA's tables: see :mod:`lut.formats.ofa` for the layout."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from backends.base import Measurement
from compofa.errors import InputError
from compofa.files import replacing_folder
from lut.formats.ofa import Z95, checksum_of
from lut.formats.ofa_keys import ofa_key
from lut.table import Table


def write_ofa(table: Table, folder: Path) -> list[Path]:
    """Write `table` as OFA files into `folder`: ``160_lookup_table.yaml`` and so on. The folder is made, or replaced
    as a whole, if it holds nothing but such files.

    Only resolutions at which some whole space is there are written; the layout has no place for blocks that failed.
    The mean is the table's latency; the count that of its rounds; the standard deviation such that the mean's
    95 % interval is as wide as the table's; or both are what such a file said.

    Returns:
        The files, by resolution.

    Raises:
        MissingEntry: the table is complete at no resolution.
        ValueError: the folder holds something else, too.
        OSError: a file cannot be written.
    """
    space = table.widest_space()
    if left := _no_tables(folder):
        raise InputError(
            f"{folder} holds {left}, too: give another folder, since all of this one would be replaced"
        )
    target = json.dumps(table.target.to_dict())
    written = []
    with replacing_folder(folder) as new:
        for resolution in table.complete_resolutions(space):
            found = ((block, table.entry(block, resolution)) for block in space.all_blocks((resolution,)))
            proxyless = table.family.published == "proxyless"
            entries = sorted((ofa_key(block, proxyless), m) for block, m in found if m is not None)
            content = "".join(_entry(key, measurement) for key, measurement in entries).encode()
            about = f"# {table.header.family_name}, {resolution} px, ms; target {target}; crc32 "
            path = new / f"{resolution}_lookup_table.yaml"
            path.write_bytes(about.encode() + checksum_of(content) + b"\n" + content)
            written.append(folder / path.name)
    return written


def _no_tables(folder: Path) -> str | None:
    """Something in `folder` that is not ours to replace."""
    if not folder.is_dir():
        return None
    names = (p.name for p in sorted(folder.iterdir()))
    return next(
        (name for name in names if not re.fullmatch(r"\d+_lookup_table\.(yaml|yml|json)", name)), None
    )


def _entry(key: str, measurement: Measurement) -> str:
    said = dict(measurement.details)
    count = said.get("count", max(len(measurement.rounds_ms), 1))
    std = said.get("std_ms")
    if std is None:
        std = (measurement.high_ms - measurement.low_ms) / (2 * Z95) * math.sqrt(float(count))
    origin = "" if measurement.origin == "measured" else f"  origin: {measurement.origin}\n"
    mean = _number(measurement.latency_ms)
    spread = f"var: {_number(float(said['var_ms2']))}" if "var_ms2" in said else f"std: {_number(float(std))}"
    return f"{key}:\n  count: {count}\n  mean: {mean}\n  {spread}\n{origin}"


def _number(value: float) -> str:
    """As YAML 1.1 reads it back: its floats need a point before the exponent."""
    text = repr(float(value))
    return text if "." in text or "e" not in text else text.replace("e", ".0e")
