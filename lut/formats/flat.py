"""Tables as flat rows, for spreadsheets and data frames: CSV and Parquet.

A row is a block with everything its number is of, so that rows of several tables can be put one below the
other and still tell each other apart. Nothing is lost: both formats read back as the same table.

A block that could not be run is a row, too: of the origin ``failed``, without a latency. A row's last column is a
checksum of its block and its measurement; rows without one (version 0.1.0 wrote none) are taken as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from typing import Any

from backends.base import Measurement
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.files import parse_json
from lut.header import Header
from lut.lines import check_block, check_measurement, checksum, entry_fields
from lut.store import Contents
from lut.table import Table

Row = dict[str, Any]
DEFINITION = "family_definition"
"""The column of what a family of one's own is."""
FAILED = "failed"
"""Stands for the origin of a block that could not be run."""
OPTIONAL = {"cycles", "classes", "only_at_resolution"}
"""Columns whose cells may be empty."""
EMPTY_IN_FAILED = OPTIONAL | {"latency_ms", "low_ms", "high_ms"}
"""Likewise in the row of a block that could not be run."""

DERIVED: dict[str, Callable[[Block], int]] = {
    "out_height": lambda block: block.out_shape[1],
    "out_width": lambda block: block.out_shape[2],
    "macs": lambda block: block.macs,
    "params": lambda block: block.params,
}
"""Columns that follow from the block: written for those who read the rows, not read back."""


def rows(table: Table) -> list[Row]:
    """Each entry of `table` as a row, and each block that failed: header and target first, then the block, then
    the measurement.

    What a spreadsheet has no cell for (versions, details, host, a family of one's own, a block's options, a
    measurement's own details) is JSON text.
    """
    of_all = _header_row(table.header)
    measured: list[tuple[Block, Measurement, int | None]]
    measured = [(block, m, None) for block, m in table.entries.items()]
    measured += [(block, m, resolution) for (resolution, block), m in table.exceptions.items()]
    return [of_all | _block_row(b) | _measured_row(b, m, resolution) for b, m, resolution in measured] + [
        of_all | _block_row(block) | _failed_row(block, why) for block, why in table.failures.items()
    ]


def _header_row(header: Header) -> Row:
    fields = header.to_dict()
    target = fields.pop("target")
    nested = {name: _json(target.pop(name)) for name in ("versions", "details")}
    host = {"host": _json(fields.pop("host"))}
    resolutions = {"resolutions": " ".join(map(str, fields.pop("resolutions")))}
    definition = fields.get(DEFINITION)
    return (
        {name: fields[name] for name in ("family", "space", "created")}
        | resolutions
        | target
        | nested
        | host
        | {"classes": fields.get("classes"), DEFINITION: _json(definition) if definition else ""}
    )


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _block_row(block: Block) -> Row:
    fields = {"options": {}, **block.to_dict()}
    fields["options"] = _json(fields.pop("options"))
    channels, height, width = fields.pop("in_shape")
    shape = {"kind": fields.pop("kind"), "in_channels": channels, "in_height": height, "in_width": width}
    return shape | fields | {name: derive(block) for name, derive in DERIVED.items()}


def _measured_row(block: Block, measurement: Measurement, resolution: int | None) -> Row:
    check_measurement(measurement)
    fields = asdict(measurement)
    details = {"measurement_details": _json(dict(fields.pop("details")))}
    proof = checksum(entry_fields(block, measurement, resolution))
    return fields | details | {"only_at_resolution": resolution, "failed": "", "crc32": proof}


def _failed_row(block: Block, why: str) -> Row:
    nothing: Row = dict.fromkeys(field.name for field in dataclass_fields(Measurement))
    del nothing["details"]
    proof = checksum({"block": block.to_dict(), "failed": why})
    return (
        nothing
        | {"origin": FAILED, "rounds_ms": (), "noisy": False, "measurement_details": "{}"}
        | {"only_at_resolution": None, "failed": why, "crc32": proof}
    )


def from_rows(given: Iterable[Mapping[str, Any]], typed: Callable[[Mapping[str, Any]], Row] = dict) -> Table:
    """The table that :func:`rows` took apart.

    Args:
        given: the rows.
        typed: turns a row's cells into values of the right types.

    Raises:
        ValueError: a row is wrong, or two are of different tables; says which, counting from 1.
    """
    found: Contents | None = None
    for number, cells in enumerate(given, start=1):
        try:
            row = typed(cells)
            mine = _header(row)
            found = found or Contents(mine)
            if mine != found.header:
                raise InputError("it is of another table than the rows before it")
            block = _block(row)
            if block in found.failures or (row["origin"] == FAILED and block in found.entries):
                raise InputError(f"{block} is there twice")
            found.add(block, row.get("only_at_resolution"), _found(block, row))
        except KeyError as error:
            raise InputError(f"row {number} lacks the column {error}") from error
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"row {number}: {error}") from error
    if found is None:
        raise InputError("it holds no entries")
    return Table(found.header, found.entries, found.failures, found.exceptions)


def _header(row: Mapping[str, Any]) -> Header:
    target = {name: row[name] for name in ("backend", "device", "precision", "batch", "threads")}
    nested = {name: parse_json(row[name]) for name in ("versions", "details")}
    fields = {name: row[name] for name in ("family", "space", "created")}
    if row.get(DEFINITION):  # older rows have no such column
        fields[DEFINITION] = parse_json(row[DEFINITION])
    resolutions = row["resolutions"].split()
    return Header.from_dict(
        {"format": "hwbench-table", "schema": 1, **fields, "resolutions": resolutions}
        | {"target": target | nested, "host": parse_json(row["host"]), "classes": row.get("classes")}
    )


def _block(row: Mapping[str, Any]) -> Block:
    names = ("kind", "out_channels", "hidden_channels", "kernel", "stride", "se", "act", "shortcut")
    shape = (row["in_channels"], row["in_height"], row["in_width"])
    options = {"options": parse_json(row["options"])} if row.get("options") else {}
    block = Block.from_dict({name: row[name] for name in names} | {"in_shape": shape} | options)
    check_block(block)
    return block


def _found(block: Block, row: Mapping[str, Any]) -> Measurement | str:
    """The measurement that `row` says of `block`, or the reason why there is none."""
    if row["origin"] == FAILED:
        why = str(row["failed"])
        proof = checksum({"block": block.to_dict(), "failed": why})
        _check_sum(row, proof)
        return why
    names = ("origin", "latency_ms", "low_ms", "high_ms", "noisy", "cycles")
    details = tuple(parse_json(row["measurement_details"]).items())
    rounds = tuple(row["rounds_ms"])
    measurement = Measurement(**{name: row[name] for name in names}, rounds_ms=rounds, details=details)
    check_measurement(measurement)
    _check_sum(row, checksum(entry_fields(block, measurement, row.get("only_at_resolution"))))
    return measurement


def _check_sum(row: Mapping[str, Any], proof: str) -> None:
    if row.get("crc32") not in (None, proof):
        raise InputError(
            "it was damaged or changed after it was written: its checksum does not fit. Convert the table anew; or "
            "leave out the column crc32 if the change is meant"
        )
