"""Lines of a table's file: a block and its measurement, or why there is none, with a checksum.

Each line ends with a checksum of what it says, ``crc32``, so that a digit that flipped is told from one that was
measured; a line without one is taken as it is (version 0.1.0 wrote none, and people write none).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from backends.base import Measurement
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.files import parse_json

LARGEST_SIZE = 2**24
"""Of a block, in channels or pixels: anything larger is damage, and would overflow where blocks are compared."""


def dumped(fields: Mapping[str, Any]) -> bytes:
    """`fields` as compact JSON."""
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


def checksum(fields: Mapping[str, Any]) -> str:
    """CRC-32 of what `fields` say, whatever their order and the blanks between them; 8 hexadecimal digits."""
    text = json.dumps(fields, separators=(",", ":"), sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def line_of(fields: dict[str, Any]) -> bytes:
    """`fields` as a line, with its checksum."""
    return dumped({**fields, "crc32": checksum(fields)}) + b"\n"


CHANGED_ENDS = "it has bare carriage returns: another program has changed the ends of the lines"


def parse_line(text: bytes) -> Any:
    """What the line says, with its checksum."""
    if b"\r" in text.removesuffix(b"\r"):
        raise InputError(CHANGED_ENDS)
    return parse_json(text)


def is_more_than_torn(text: bytes) -> bool:
    """Whether `text`, without a newline, cannot be the beginning of one line of ours: dropping it would lose
    more than a line that was being written."""
    if b"\r" in text.removesuffix(b"\r"):
        return True
    try:
        _, end = json.JSONDecoder().raw_decode(text.decode(errors="replace"))
    except (ValueError, RecursionError):
        return False
    return bool(text[end:].strip())


def header_start(form: str) -> bytes:
    """What the first line of a file of that format begins with."""
    return b'{"format":"' + form.encode() + b'"'


def begins_a_header(text: bytes, form: str) -> bool:
    """Whether `text` is empty, or what a process killed in its first write of a file of that format left."""
    start = header_start(form)
    return (text.startswith(start) or start.startswith(text)) and not is_more_than_torn(text)


def check_sum(fields: Any, again: str = "hwbench build_lut measures the block again") -> None:
    """Take the checksum out of `fields`, if they have one; `again` says what happens once the line is deleted.

    Raises:
        ValueError: it is not theirs.
    """
    given = fields.pop("crc32", None)
    if given is not None and given != checksum(fields):
        raise InputError(
            f"it was damaged or changed after it was written: its checksum does not fit. Delete it, and {again}; or "
            "delete the checksum (crc32) if the change is meant"
        )


def check_measurement(measurement: Measurement) -> None:
    """Raise ValueError unless the latencies are finite, positive and inside their interval, and each field is of
    its type."""
    m = measurement
    for time in (m.latency_ms, m.low_ms, m.high_ms, *m.rounds_ms):
        _check_time(time)
    for name, value in m.details:
        if not isinstance(value, str) or name.endswith("_ms"):
            _check_time(value, "a latency" if name.endswith("_ms") else name)
    if m.latency_ms < SHORTEST_MS:
        raise InputError(f"a latency must be positive, not {m.latency_ms:g} ms")
    slack = 1e-9 * m.latency_ms
    if not m.low_ms - slack <= m.latency_ms <= m.high_ms + slack:
        raise InputError(
            f"the latency, {m.latency_ms:g} ms, lies outside its own interval, {m.low_ms:g} to {m.high_ms:g} ms"
        )
    if m.origin not in Measurement.ORIGINS:
        raise InputError(f"unknown origin {m.origin!r}; there are {', '.join(Measurement.ORIGINS)}")
    if type(m.noisy) is not bool:
        raise InputError(f"noisy is true or false, not {m.noisy!r}")
    if m.cycles is not None and (type(m.cycles) is not int or not 0 <= m.cycles < 2**63):
        raise InputError(f"{m.cycles!r} is no number of cycles")


def _check_time(value: object, what: str = "a latency") -> None:
    if type(value) not in (int, float) or not abs(value) < LONGEST_MS:  # type: ignore[arg-type]
        unit = " of milliseconds" if what == "a latency" else ""
        raise InputError(f"{what} must be a finite number{unit}, not {str(value)[:40]}")


LONGEST_MS, SHORTEST_MS = 1e300, 1e-12
"""Larger numbers, NaN and integers that no float holds are damage, and so is what no device does in a cycle."""


def entry_fields(block: Block, measurement: Measurement, resolution: int | None = None) -> dict[str, Any]:
    """An entry as JSON-ready values.

    Args:
        block: which.
        measurement: of it.
        resolution: of the networks that it holds for; None for all.
    """
    fields = asdict(measurement)
    details = fields.pop("details")
    return {
        "block": block.to_dict(),
        **({} if resolution is None else {"resolution": resolution}),
        **fields,
        "rounds_ms": list(measurement.rounds_ms),
        **({"details": dict(details)} if details else {}),
    }


def entry_line(block: Block, measurement: Measurement, resolution: int | None = None) -> bytes:
    try:
        check_measurement(measurement)
    except InputError as error:
        raise InputError(f"the answer for {block} is unusable: {error}") from error
    return line_of(entry_fields(block, measurement, resolution))


def failure_line(block: Block, reason: str) -> bytes:
    return line_of({"block": block.to_dict(), "failed": reason})


def check_block(block: Block) -> None:
    """Raise ValueError if a size of `block` is beyond any network."""
    sizes = (*block.in_shape, block.out_channels, block.hidden_channels, block.kernel, block.stride)
    if max(sizes) > LARGEST_SIZE:
        raise InputError(f"a block of size {max(sizes)!s:.20} is none of any network")


class Entry(NamedTuple):
    block: Block
    resolution: int | None
    found: Measurement | str
    """The measurement, or the reason why there is none."""


def parse_entry(text: bytes) -> Entry:
    fields = parse_line(text)
    if not isinstance(fields, dict) or not isinstance(fields.get("block"), dict):
        raise InputError("not an entry of a table")
    as_written = dict(fields)
    block = Block.from_dict(fields.pop("block"))
    check_block(block)
    fields.pop("crc32", None)
    resolution = fields.pop("resolution", None)
    found = str(fields["failed"]) if fields.keys() == {"failed"} else _parse_measurement(fields)
    if resolution is not None and (type(resolution) is not int or isinstance(found, str)):
        raise InputError(f"{resolution!r} is no resolution of an entry")
    check_sum(as_written)
    return Entry(block, resolution, found)


def _parse_measurement(fields: dict[str, Any]) -> Measurement:
    try:
        details = tuple(dict(fields.pop("details", {})).items())
        measurement = Measurement(**{**fields, "rounds_ms": tuple(fields["rounds_ms"])}, details=details)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"not an entry of a table: {error}") from error
    check_measurement(measurement)
    return measurement
