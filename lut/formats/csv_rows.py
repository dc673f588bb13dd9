"""Tables as CSV: the rows of :mod:`lut.formats.flat` as text."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compofa.errors import InputError
from compofa.files import read_bounded, write_atomically
from lut.formats.flat import EMPTY_IN_FAILED, FAILED, OPTIONAL, Row, from_rows, rows
from lut.kinds import kind_of
from lut.table import Table


def write_csv(table: Table, path: Path) -> None:
    """Write `table` to `path`; times are to the last digit, the rounds of a measurement joined by blanks.

    Raises:
        OSError: it cannot be written.
    """
    flat = [row | {"rounds_ms": " ".join(map(repr, row["rounds_ms"]))} for row in rows(table)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(flat[0]))
    writer.writeheader()
    writer.writerows(flat)
    write_atomically(path, text.getvalue())


def read_csv(path: Path) -> Table:
    """The table that :func:`write_csv` wrote.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or is cut short; names it and the row.
    """
    content = read_bounded(path)
    try:
        if kind := kind_of(content):
            raise InputError(f"it is {kind}")
        text = content.decode("utf-8-sig")
        lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if len(set(names := lines.fieldnames or ())) < len(names):
            raise InputError("two of its columns have one name")
        table = from_rows(lines, _typed)
        if not text.endswith(("\n", "\r")):
            raise InputError("its last row has no end: the file is cut short")
        return table
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is not a table as CSV: {error}") from error


def _typed(row: Mapping[str, str | None]) -> Row:
    """`row` with numbers and booleans instead of text."""
    if None in row or None in row.values():
        raise InputError("a row is shorter or longer than the first one")
    empty_allowed = EMPTY_IN_FAILED if row.get("origin") == FAILED else OPTIONAL
    return {
        name: None if not text and name in empty_allowed else READERS.get(name, str)(text)
        for name, text in row.items()
        if text is not None
    }


def _boolean(text: str) -> bool:
    if text not in ("True", "False"):
        raise InputError(f"{text!r} is neither True nor False")
    return text == "True"


def _float(text: str) -> float:
    # Only what repr() writes: float() would take 1_0, and "infinity", too.
    value = float(text) if "_" not in text else math.nan
    if not math.isfinite(value):
        raise InputError(f"a latency must be a finite number of milliseconds, not {text}")
    return value


def _integer(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise InputError(f"{text[:40]!r} is no whole number")
    return int(text)


READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("in_channels", "in_height", "in_width", "out_channels", "hidden_channels"), _integer),
    **dict.fromkeys(("kernel", "stride", "batch", "threads", "cycles"), _integer),
    **dict.fromkeys(("classes", "only_at_resolution"), _integer),
    **dict.fromkeys(("se", "shortcut", "noisy"), _boolean),
    **dict.fromkeys(("latency_ms", "low_ms", "high_ms"), _float),
    "rounds_ms": lambda text: [_float(part) for part in text.split()],
}
"""How the text of a CSV column becomes a value; text stays text."""
