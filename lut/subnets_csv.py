"""Subnets, alone or with what was measured of them, in every form that commands take.

*CSV*, a subnet in each row and any other columns beside it. The subnet is

- in columns ``r, d0.., k00.., e00..``: the resolution in pixels, each unit's depth, the kernel and the expand ratio (or
  what else a family chooses) of each slot (place of a block, counted over all units); ``ks<slot>`` is read for
  ``k<slot>``, too; ``w0..`` is the multiplier of the width of a unit of several. Slots past a unit's depth are
  inactive, whatever they hold. The layout is that of the HELP project (Lee et al., NeurIPS 2021);
- or in a column ``arch``, as ``r32-k3e6_k5e4-...``;
- or in the one column that holds dictionaries ``{'ks': ..., 'e': ..., 'd': ..., 'r': ...}``, as DyNAS-T writes them.

*JSON*: one value of :mod:`compofa.configs`, a list of them, or one in each line; their other numbers and texts are
columns. *Text*: ``r32-k3e6_k5e4-...`` in each line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from compofa.configs import SIDES
from compofa.errors import InputError
from compofa.files import read_text, write_atomically
from compofa.spaces.arch import Arch
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, decode, encode, layout
from lut.predictors.base import PLAUSIBLE_MS, Floats
from lut.subnet_columns import (
    Numbers,
    WrongValue,
    columns_of,
    design,
    encode_columns,
    families_of,
    parse_number,
)
from lut.subnet_values import archs_of, column_of_dictionaries, value_of, values_of

TARGET = "target"
"""Name of the column of text that says what the latencies are of."""
ARCH = "arch"
"""Name of the column of subnets as text."""
LONGEST_LIST = 8
"""Names that a message lists before it only counts."""


@dataclass(frozen=True)
class SubnetsCsv:
    """A file of subnets.

    Args:
        path: where it was read.
        family: whose subnets they are.
        header: names of all columns.
        cells: the text of each row, as it was.
        lines: the line of the file on which each row ends, from 1; in a JSON document the number of the value.
        genotypes: shape (rows, columns).
    """

    path: Path
    family: Family
    header: tuple[str, ...]
    cells: list[list[str]]
    lines: list[int]
    genotypes: Genotypes

    def latencies(self, column: str) -> Floats:
        """The column of latencies in milliseconds, shape (rows,).

        Raises:
            ValueError: there is no such column, or a row holds no positive number there.
        """
        targets = [name for name in self.header if name not in (ARCH, *design(self.header, self.family))]
        if column not in targets:
            raise InputError(f"{self.path} has no column {column!r} of latencies; it has {_list(targets)}")
        at = self.header.index(column)
        values = np.array([parse_number(row[at]) for row in self.cells])
        least, most = PLAUSIBLE_MS
        bad = np.flatnonzero(~((values >= least) & (values <= most)))
        if len(bad):
            first = int(bad[0])
            raise InputError(
                f"{self.path}, line {self.lines[first]}: {column} is {_short(self.cells[first][at])}, not a positive "
                f"number of milliseconds ({len(bad)} of {len(values)} rows are wrong: correct or delete them)"
            )
        return values

    @property
    def target(self) -> str | None:
        """What the latencies are of, from the column :data:`TARGET`; None without it.

        Raises:
            ValueError: rows are of different targets.
        """
        if TARGET not in self.header:
            return None
        at = self.header.index(TARGET)
        found = sorted({row[at] for row in self.cells})
        if len(found) > 1:
            raise InputError(f"{self.path} mixes measurements of {len(found)} targets: {_list(found)}")
        return found[0]

    def archs(self) -> list[Arch]:
        """The subnets, one for each row."""
        return decode(self.family, self.genotypes)


# --- reading ---


def read_subnets(path: Path, family: Family) -> SubnetsCsv:
    """The subnets in a file, in any of the forms above.

    Raises:
        OSError: the file cannot be read.
        InputError: it is in none of them, or a row is torn or no subnet of `family`; names the line.
    """
    text = read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        return _from_values(path, family, values_of(path, text))
    header, cells, lines = _read(path, text)
    if ARCH not in header and _is_arch(header[0]):
        cells, lines = [list(header), *cells], [1, *lines]
        header = (ARCH, *(f"column {n}" for n in range(2, len(header) + 1)))
    if not cells:
        raise InputError(f"{path} holds no subnets, only a header")
    names = design(header, family)
    missing = [name for name in names if name not in header]
    if not missing:
        file = SubnetsCsv(
            path, family, header, cells, lines, _from_columns(path, family, header, cells, lines)
        )
        return _agreeing(file) if ARCH in header else file
    column = header.index(ARCH) if ARCH in header else column_of_dictionaries(cells[0])
    if column is None:
        raise InputError(
            f"{path} lacks {_list(missing)}: subnets of {family.name} need the columns {families_of(names)}, or a "
            f"column {ARCH} of r32-k3e6_k5e4-..., or one of "
            "{'ks': .., 'e': .., 'd': .., 'r': ..}"
        )
    archs = archs_of(path, family, lines, [value_of(row[column]) for row in cells])
    return SubnetsCsv(path, family, header, cells, lines, encode(family, archs))


def _is_arch(text: str) -> bool:
    return text[:1] == "r" and text[1:2].isdigit() and "-" in text


def _read(path: Path, text: str) -> tuple[tuple[str, ...], list[list[str]], list[int]]:
    """Header, cells and line numbers; blank lines are skipped."""
    try:
        reader = csv.reader(io.StringIO(text, newline=""))
        header = tuple(name.strip() for name in next(reader, []))
        rows = [(row, reader.line_num) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"{path} is no CSV file: {error}") from error
    if not header:
        raise InputError(f"{path} is empty: it holds no subnets")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InputError(f"{path} has the column {_list(twice)} twice")
    for row, line in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(header)} (is the file cut short?)"
            )
    return header, [row for row, _ in rows], [line for _, line in rows]


# --- subnets in columns of numbers ---


def _from_columns(
    path: Path, family: Family, header: Sequence[str], cells: Sequence[list[str]], lines: Sequence[int]
) -> Genotypes:
    columns, numbers = columns_of(header, family), Numbers()
    picked = [header.index(column.name) for column in columns]
    values = np.array([[numbers[row[i]] for i in picked] for row in cells])
    try:
        return encode_columns(family, columns, values)
    except WrongValue as wrong:
        text = _short(cells[wrong.row][picked[wrong.column]])
        raise InputError(
            f"{path}, line {lines[wrong.row]}: {columns[wrong.column].name} is {text}; {family.name} has "
            f"{wrong.allowed} ({wrong.count} of {len(cells)} rows are outside the family)"
        ) from None


def _agreeing(file: SubnetsCsv) -> SubnetsCsv:
    """`file`, of which the column ``arch`` says what the columns of numbers say, or InputError."""
    at = file.header.index(ARCH)
    for row, line, arch in zip(file.cells, file.lines, file.archs(), strict=True):
        if row[at].strip() != str(arch):
            raise InputError(f"{file.path}, line {line}: {ARCH} is not what the columns r, d0.. say")
    return file


def _list(names: Sequence[str]) -> str:
    more = len(names) - LONGEST_LIST
    return ", ".join(names[:LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _from_values(path: Path, family: Family, numbered: Sequence[tuple[int, Any]]) -> SubnetsCsv:
    """Subnets of JSON values; what else they say in numbers and texts becomes columns."""
    if not numbered:
        raise InputError(f"{path} holds no subnets")
    numbers, values = [number for number, _ in numbered], [value for _, value in numbered]
    genotypes = encode(family, archs_of(path, family, numbers, values))
    described, rows = subnet_columns(family, genotypes)
    taken = {*described, *SIDES, ARCH, "wid"}
    dictionaries = [value if isinstance(value, dict) else {} for value in values]
    others = {
        key: None
        for value in dictionaries
        for key, content in value.items()
        if key not in taken and isinstance(content, (int, float, str))
    }
    cells = [
        [*row, *(_cell(value.get(key)) for key in others)]
        for row, value in zip(rows, dictionaries, strict=True)
    ]
    return SubnetsCsv(path, family, (*described, *others), cells, numbers, genotypes)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


# --- writing ---


def subnet_columns(family: Family, genotypes: Genotypes) -> tuple[list[str], list[list[str]]]:
    """The header and the rows that describe subnets; inactive slots are 0.

    Raises:
        InvalidArch: a row of `genotypes` is no subnet of the family.
    """
    at, columns = layout(family), columns_of((), family)
    rows = []
    for arch in decode(family, genotypes):
        cells = []
        for column in columns:
            if column.unit < 0:
                value: float | None = arch.resolution
            elif column.slot >= 0:
                position = column.slot - at.starts[column.unit]
                chosen = arch.units[column.unit]
                value = chosen[position][column.axis] if position < len(chosen) else 0
            else:
                value = len(arch.units[column.unit]) if column.name[0] == "d" else arch.width(column.unit)
            cells.append(f"{value:g}")
        rows.append(cells)
    return [column.name for column in columns], rows


def write_csv(
    path: Path, header: Sequence[str], cells: Sequence[Sequence[str]], added: Mapping[str, Floats]
) -> None:
    """Write rows and further columns of numbers, six significant digits, at once: a reader sees the old file or
    the new one.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO(newline="")
    write_rows(text, header, cells, added)
    write_atomically(path, text.getvalue())


def write_rows(
    file: TextIO, header: Sequence[str], cells: Sequence[Sequence[str]], added: Mapping[str, Floats]
) -> None:
    """:func:`write_csv` into an open text file."""
    if wrong := [name for name, column in added.items() if len(column) != len(cells)]:
        raise InputError(f"column {wrong[0]} has {len(added[wrong[0]])} numbers for {len(cells)} rows")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*header, *added])
    numbers = [[f"{value:.6g}" for value in column.tolist()] for column in added.values()]
    writer.writerows([*row, *(column[i] for column in numbers)] for i, row in enumerate(cells))
