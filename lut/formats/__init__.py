"""Tables in the format that a file's suffix says.

``.jsonl`` is our own, the one that can be added to; ``.csv`` and ``.parquet`` are flat rows
(:mod:`lut.formats.flat`); a folder, ``.yaml``, ``.yml`` and ``.json`` are OFA's (:mod:`lut.formats.ofa`).
"""

from __future__ import annotations

from pathlib import Path

from compofa.errors import InputError
from compofa.files import replacing
from lut import store
from lut.formats import csv_rows, ofa, parquet
from lut.formats.ofa_writing import write_ofa
from lut.table import Table

SUFFIXES = (".jsonl", ".csv", ".parquet", *ofa.SUFFIXES)
READERS = {".csv": csv_rows.read_csv, ".parquet": parquet.read_parquet}
WRITERS = {".csv": csv_rows.write_csv, ".parquet": parquet.write_parquet}


def is_ofa(path: Path) -> bool:
    """Whether `path` means OFA's layout: a folder, or a YAML or JSON file."""
    return path.is_dir() or path.suffix.lower() in ofa.SUFFIXES


def read_table(path: Path, family: str | None = None) -> Table:
    """The table at `path`, in whichever format; anything without a suffix of the others is taken for ours.

    Args:
        path: a file, or a folder of OFA files.
        family: whose blocks it must hold, if given.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no table, or of another family.
        RuntimeError: it is Parquet, and pyarrow is not installed.
    """
    if is_ofa(path):
        return ofa.read_ofa(path, family)
    table = READERS.get(path.suffix.lower(), Table.load)(path)
    if family and table.header.family != family:
        raise InputError(f"{path} is a table of family {table.header.family}, not of {family}")
    return table


def write_table(table: Table, path: Path) -> list[Path]:
    """Write `table` to `path`, in the format that its suffix says; what was there is replaced, all or nothing.

    A path without a suffix, or a folder, becomes a folder of OFA files.

    Returns:
        What was written.

    Raises:
        ValueError: no format has this suffix, or the table has no entry.
        MissingEntry: an OFA table was asked for, and the table is complete at no resolution.
        FileBusy: a build is adding to what is there.
        OSError: it cannot be written.
    """
    if not table.entries:
        raise InputError("the table has no entry: there is nothing to write")
    if path.is_dir() or not path.suffix:
        return write_ofa(table, path)
    suffix = path.suffix.lower()
    if suffix in ofa.SUFFIXES:
        raise InputError(
            f"{path}: OFA's layout is a file for each resolution: give a folder, without a suffix"
        )
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: no format is called {suffix}; there are {', '.join(SUFFIXES)} and folders")
    WRITERS.get(suffix, _write_ours)(table, path)
    return [path]


def _write_ours(table: Table, path: Path) -> None:
    with replacing(path) as beside, store.Writer(beside, table.header) as writer:
        writer.append(table.entries.items())
        writer.append_failures(table.failures)
        writer.append_exceptions(table.exceptions)
