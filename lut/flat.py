"""Tables as flat rows, for spreadsheets and data frames: CSV and Parquet.

A row is a block with everything its number is of, so that rows of several tables can be put one below the
other and still tell each other apart. Nothing is lost: both formats read back as the same table.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backends.base import Measurement
from compofa.blocks import Block
from compofa.errors import InputError, RunFailed
from lut.store import Header, check_measurement
from lut.table import Table

Row = dict[str, Any]

DERIVED: dict[str, Callable[[Block], int]] = {
    "out_height": lambda block: block.out_shape[1],
    "out_width": lambda block: block.out_shape[2],
    "macs": lambda block: block.macs,
    "params": lambda block: block.params,
}
"""Columns that follow from the block: written for those who read the rows, not read back."""


def rows(table: Table) -> list[Row]:
    """Each entry of `table` as a row: header and target first, then the block, then the measurement.

    What a spreadsheet has no cell for (versions, details, host, a measurement's own details) is JSON text.
    """
    of_all = _header_row(table.header)
    return [of_all | _block_row(block) | _measured_row(m) for block, m in table.entries.items()]


def _header_row(header: Header) -> Row:
    fields = header.to_dict()
    target = fields.pop("target")
    nested = {name: json.dumps(target.pop(name)) for name in ("versions", "details")}
    host = {"host": json.dumps(fields.pop("host"))}
    resolutions = {"resolutions": " ".join(map(str, fields.pop("resolutions")))}
    return (
        {name: fields[name] for name in ("family", "space", "created")} | resolutions | target | nested | host
    )


def _block_row(block: Block) -> Row:
    fields = block.to_dict()
    channels, height, width = fields.pop("in_shape")
    shape = {"kind": fields.pop("kind"), "in_channels": channels, "in_height": height, "in_width": width}
    return shape | fields | {name: derive(block) for name, derive in DERIVED.items()}


def _measured_row(measurement: Measurement) -> Row:
    fields = asdict(measurement)
    return fields | {"measurement_details": json.dumps(dict(fields.pop("details")))}


def from_rows(given: Iterable[Mapping[str, Any]], typed: Callable[[Mapping[str, Any]], Row] = dict) -> Table:
    """The table that :func:`rows` took apart.

    Args:
        given: the rows.
        typed: turns a row's cells into values of the right types.

    Raises:
        ValueError: a row is wrong, or two are of different tables; says which, counting from 1.
    """
    header: Header | None = None
    entries: dict[Block, Measurement] = {}
    for number, cells in enumerate(given, start=1):
        try:
            row = typed(cells)
            mine = _header(row)
            header = header or mine
            if mine != header:
                raise InputError("it is of another table than the rows before it")
            block = _block(row)
            if block in entries:
                raise InputError(f"{block} is there twice")
            entries[block] = _measurement(row)
        except KeyError as error:
            raise InputError(f"row {number} lacks the column {error}") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"row {number}: {error}") from error
    if header is None:
        raise InputError("it holds no entries")
    return Table(header, entries)


def _header(row: Mapping[str, Any]) -> Header:
    target = {name: row[name] for name in ("backend", "device", "precision", "batch", "threads")}
    nested = {name: json.loads(row[name]) for name in ("versions", "details")}
    fields = {name: row[name] for name in ("family", "space", "created")}
    resolutions = row["resolutions"].split()
    return Header.from_dict(
        {"format": "hwbench-table", "schema": 1, **fields, "resolutions": resolutions}
        | {"target": target | nested, "host": json.loads(row["host"])}
    )


def _block(row: Mapping[str, Any]) -> Block:
    names = ("kind", "out_channels", "hidden_channels", "kernel", "stride", "se", "act", "shortcut")
    shape = (row["in_channels"], row["in_height"], row["in_width"])
    return Block.from_dict({name: row[name] for name in names} | {"in_shape": shape})


def _measurement(row: Mapping[str, Any]) -> Measurement:
    names = ("origin", "latency_ms", "low_ms", "high_ms", "noisy", "cycles")
    details = tuple(json.loads(row["measurement_details"]).items())
    rounds = tuple(row["rounds_ms"])
    measurement = Measurement(**{name: row[name] for name in names}, rounds_ms=rounds, details=details)
    check_measurement(measurement)
    return measurement


# --- CSV ---


def write_csv(table: Table, path: Path) -> None:
    """Write `table` to `path`; times are to the last digit, the rounds of a measurement joined by blanks.

    Raises:
        OSError: it cannot be written.
    """
    flat = [row | {"rounds_ms": " ".join(map(repr, row["rounds_ms"]))} for row in rows(table)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)


def read_csv(path: Path) -> Table:
    """The table that :func:`write_csv` wrote.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file; names it and the row.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return from_rows(csv.DictReader(file, strict=True), _typed)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is not a table as CSV: {error}") from error


def _typed(row: Mapping[str, str | None]) -> Row:
    """`row` with numbers and booleans instead of text."""
    if None in row or None in row.values():
        raise InputError("a row is shorter or longer than the first one")
    return {name: READERS.get(name, str)(text) for name, text in row.items() if text is not None}


def _boolean(text: str) -> bool:
    if text not in ("True", "False"):
        raise InputError(f"{text!r} is neither True nor False")
    return text == "True"


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise InputError(f"a latency must be a finite number of milliseconds, not {text}")
    return value


READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("in_channels", "in_height", "in_width", "out_channels", "hidden_channels"), int),
    **dict.fromkeys(("kernel", "stride", "batch", "threads"), int),
    **dict.fromkeys(("se", "shortcut", "noisy"), _boolean),
    **dict.fromkeys(("latency_ms", "low_ms", "high_ms"), _float),
    "rounds_ms": lambda text: [_float(part) for part in text.split()],
    "cycles": lambda text: int(text) if text else None,
}
"""How the text of a CSV column becomes a value; text stays text."""


# --- Parquet ---


def write_parquet(table: Table, path: Path) -> None:
    """Write `table` to `path`.

    Raises:
        RuntimeError: pyarrow is not installed; says how.
        OSError: it cannot be written.
    """
    arrow = _pyarrow()
    flat = rows(table)
    columns = {name: [row[name] for row in flat] for name in flat[0]}
    types = {"rounds_ms": arrow.list_(arrow.float64()), "cycles": arrow.int64()}
    arrays = {name: arrow.array(values, type=types.get(name)) for name, values in columns.items()}
    arrow.parquet.write_table(arrow.table(arrays), path)


def read_parquet(path: Path) -> Table:
    """The table that :func:`write_parquet` wrote.

    Raises:
        RuntimeError: pyarrow is not installed; says how.
        OSError: it cannot be read.
        ValueError: it is no such file; names it and the row.
    """
    arrow = _pyarrow()
    with path.open("rb") as file:
        try:
            return from_rows(arrow.parquet.read_table(file).to_pylist())
        except (ValueError, OSError, arrow.ArrowException) as error:
            raise InputError(f"{path} is not a table as Parquet: {error}") from error


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise RunFailed(
            "Parquet needs pyarrow, which is not installed: pip install 'hwbench[parquet]', or write CSV"
        ) from error
    return pyarrow
