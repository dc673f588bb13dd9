"""Tables as Parquet: the rows of :mod:`lut.formats.flat` with their types."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from compofa.errors import InputError, RunFailed
from compofa.files import read_bounded, replacing
from lut.formats.flat import OPTIONAL, from_rows, rows
from lut.kinds import kind_of
from lut.table import Table


def write_parquet(table: Table, path: Path) -> None:
    """Write `table` to `path`.

    Raises:
        RuntimeError: pyarrow is not installed; says how.
        OSError: it cannot be written.
    """
    arrow = _pyarrow()
    flat = rows(table)
    columns = {name: [row[name] for row in flat] for name in flat[0]}
    integers = dict.fromkeys(OPTIONAL, arrow.int64())
    floats = dict.fromkeys(("latency_ms", "low_ms", "high_ms"), arrow.float64())
    types = {"rounds_ms": arrow.list_(arrow.float64())} | integers | floats
    arrays = {name: arrow.array(values, type=types.get(name)) for name, values in columns.items()}
    with replacing(path) as beside:
        arrow.parquet.write_table(arrow.table(arrays), beside, write_page_checksum=True)


def read_parquet(path: Path) -> Table:
    """The table that :func:`write_parquet` wrote.

    Raises:
        RuntimeError: pyarrow is not installed; says how.
        OSError: it cannot be read.
        ValueError: it is no such file; names it and the row.
    """
    arrow = _pyarrow()
    content = read_bounded(path)
    kind = None if content.startswith(b"PAR1") else kind_of(content)
    try:
        if kind:
            raise InputError(f"it is {kind}")
        file = arrow.parquet.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
        if file.metadata.num_rows > MOST_ROWS:
            raise InputError(f"it has {file.metadata.num_rows} rows, more than any table")
        return from_rows(file.read().to_pylist())
    except (ValueError, OSError, TypeError, KeyError, MemoryError, arrow.ArrowException) as error:
        raise InputError(f"{path} is not a table as Parquet: {error}") from error


MOST_ROWS = 1_000_000
"""A few kilobytes of Parquet can stand for more than the memory holds."""


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise RunFailed(
            "Parquet needs pyarrow, which is not installed: pip install 'hwbench[parquet]', or write CSV"
        ) from error
    return pyarrow
