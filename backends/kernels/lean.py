"""An ONNX file without its weights: these stay where they are in the file, and are referred to as external data.

Parsed, a model of 500 MB takes 500 MB more, and what ONNX Runtime is given in one piece it holds twice or thrice; what
lies in a file it maps. So the file is walked by its wire format (protobuf's; field numbers are those of onnx.proto),
and everything but the weights is copied.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compofa.errors import InputError

GRAPH, INITIALIZER = 7, 5
"""Of a model; of a graph."""
RAW_DATA, EXTERNAL_DATA, DATA_LOCATION, EXTERNAL = 9, 13, 14, 1
"""Of a tensor; the last is a value of the one before."""
KEY, VALUE = 1, 2
VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
"""Kinds of fields on the wire."""
LEAST_BYTES = 1024
"""Smaller tensors are settings (axes, shapes), which have to be at hand."""

Content = bytes | mmap.mmap


class Torn(InputError):
    """The file ends, or makes no sense, in the middle of a field."""


@dataclass(frozen=True)
class Field:
    """Where a field lies: from its tag at `start`, its value at `value`, up to `end`."""

    number: int
    kind: int
    start: int
    value: int
    end: int


def lean(path: Path) -> bytes:
    """The model at `path`, its larger weights replaced by references into the file itself.

    Raises:
        OSError: it cannot be read.
        Torn: it is damaged, or something else.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            return b""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _without(content, 0, len(content), (GRAPH, INITIALIZER), path.name)


def _without(content: Content, start: int, end: int, inner: tuple[int, ...], location: str) -> bytes:
    """The message between `start` and `end`; `inner` leads to its tensors."""
    if not inner:
        return _tensor(content, start, end, location)
    parts = []
    for field in _fields(content, start, end):
        if (field.number, field.kind) == (inner[0], LENGTH):
            parts.append(
                _message(field.number, _without(content, field.value, field.end, inner[1:], location))
            )
        else:
            parts.append(content[field.start : field.end])
    return b"".join(parts)


def _tensor(content: Content, start: int, end: int, location: str) -> bytes:
    parts = []
    for field in _fields(content, start, end):
        length = field.end - field.value
        if (field.number, field.kind) != (RAW_DATA, LENGTH) or length < LEAST_BYTES:
            parts.append(content[field.start : field.end])
            continue
        for key, value in (("location", location), ("offset", str(field.value)), ("length", str(length))):
            pair = _message(KEY, key.encode()) + _message(VALUE, value.encode())
            parts.append(_message(EXTERNAL_DATA, pair))
        parts.append(_varint(DATA_LOCATION << 3 | VARINT) + _varint(EXTERNAL))
    return b"".join(parts)


# --- the wire format ---


def _fields(content: Content, start: int, end: int) -> Iterator[Field]:
    while start < end:
        tag, value = _read_varint(content, start, end)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            stop = _read_varint(content, value, end)[1]
        elif kind == LENGTH:
            length, value = _read_varint(content, value, end)
            stop = value + length
        elif kind in (EIGHT, FOUR):
            stop = value + (8 if kind == EIGHT else 4)
        else:
            raise Torn(f"a field of the unknown kind {kind}")
        if stop > end or not number:
            raise Torn("a field that ends behind its message")
        yield Field(number, kind, start, value, stop)
        start = stop


def _read_varint(content: Content, start: int, end: int) -> tuple[int, int]:
    """The number at `start`, and where the next thing is."""
    found = shift = 0
    for place in range(start, min(end, start + 10)):
        byte = content[place]
        found |= (byte & 127) << shift
        if byte < 128:
            return found, place + 1
        shift += 7
    raise Torn("a number that does not end")


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | LENGTH) + _varint(len(body)) + body
