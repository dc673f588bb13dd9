"""Subnets and their latencies as CSV: ``r, d0.., k00.., e00.., <any other columns>``, or ``arch, ...``.

``r`` is the resolution in pixels, ``d<unit>`` a unit's depth, ``k<slot>`` and ``e<slot>`` the kernel and the expand
ratio of a slot (unit x largest depth + position); ``ks<slot>`` is read for ``k<slot>``, too. Slots past a unit's
depth are inactive, whatever they hold. The layout is that of the HELP project (Lee et al., NeurIPS 2021).
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from compofa.arch import Arch, InvalidArch, check_arch
from compofa.errors import InputError
from compofa.families import Family
from compofa.genotype import Genotypes, decode, encode
from lut.predictors.base import Floats

ARCH = "arch"
"""Name of a column that says the subnet by itself."""
TARGET = "target"
"""Name of the column of text that says what the latencies are of."""
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
        lines: the line of the file on which each row ends, from 1.
        genotypes: shape (rows, 1 + slots).
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
        targets = [name for name in self.header if name not in _design(self.header, self.family)]
        if column not in targets:
            raise InputError(f"{self.path} has no column {column!r} of latencies; it has {_list(targets)}")
        at = self.header.index(column)
        values = np.array([_number(row[at]) for row in self.cells])
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(bad):
            first = int(bad[0])
            raise InputError(
                f"{self.path}, line {self.lines[first]}: {column} is {self.cells[first][at]!r}, not a positive "
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


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


# --- reading ---


def read_subnets(path: Path, family: Family) -> SubnetsCsv:
    """The subnets in a CSV file.

    Raises:
        OSError: the file cannot be read.
        ValueError: a column is missing, or a row is torn or no subnet of `family`; names the line.
    """
    header, cells, lines = _read(path)
    if ARCH in header:
        if not cells:
            raise InputError(f"{path} holds no subnets, only a header")
        return SubnetsCsv(path, family, header, cells, lines, _parse(path, family, header, cells, lines))
    names = _design(header, family)
    if missing := [name for name in names if name not in header]:
        raise InputError(
            f"{path} lacks {_list(missing)}: subnets of {family.name} need the columns {names[0]}, "
            f"{names[1]}.., {_slot('k', 0)}.., {_slot('e', 0)}.."
        )
    if not cells:
        raise InputError(f"{path} holds no subnets, only a header")
    numbers = _Numbers()
    picked = [header.index(name) for name in names]
    values = np.array([[numbers[row[i]] for i in picked] for row in cells])
    try:
        genotypes = _encode(family, values)
    except _Wrong as wrong:
        text = cells[wrong.row][picked[wrong.column]]
        raise InputError(
            f"{path}, line {lines[wrong.row]}: {names[wrong.column]} is {text!r}; {family.name} has {wrong.allowed} "
            f"({wrong.count} of {len(cells)} rows are outside the family)"
        ) from None
    return SubnetsCsv(path, family, header, cells, lines, genotypes)


def _read(path: Path) -> tuple[tuple[str, ...], list[list[str]], list[int]]:
    """Header, cells and line numbers; blank lines are skipped."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = tuple(name.strip() for name in next(reader, []))
            rows = [(row, reader.line_num) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file: {error}") from error
    if not header:
        raise InputError(f"{path} is empty, not a CSV file of subnets")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InputError(f"{path} has the column {_list(twice)} twice")
    for row, line in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(header)} (is the file cut short?)"
            )
    return header, [row for row, _ in rows], [line for _, line in rows]


def _parse(
    path: Path, family: Family, header: tuple[str, ...], cells: list[list[str]], lines: list[int]
) -> Genotypes:
    """Genotypes from the column :data:`ARCH`."""
    at, archs = header.index(ARCH), []
    for row, line in zip(cells, lines, strict=True):
        try:
            archs.append(Arch.parse(row[at]))
            check_arch(family, archs[-1])
        except InvalidArch as error:
            raise InputError(f"{path}, line {line}: {error}") from error
    return encode(family, archs)


class _Numbers(dict[str, int]):
    """Text -> whole number, -1 for anything else; each text is parsed once."""

    def __missing__(self, text: str) -> int:
        value = _number(text)
        self[text] = int(value) if value.is_integer() and 0 <= value < 1e6 else -1
        return self[text]


def _slot(letter: str, slot: int) -> str:
    return f"{letter}{slot:02d}"


def _design(header: Sequence[str], family: Family) -> list[str]:
    """The columns that describe a subnet, with the file's own name for kernels."""
    kernel = "ks" if _slot("ks", 0) in header else "k"
    slots = range(family.slots)
    depths = [f"d{unit}" for unit in range(len(family.units))]
    return ["r", *depths, *(_slot(kernel, s) for s in slots), *(_slot("e", s) for s in slots)]


class _Wrong(Exception):
    """A value is none that the family has."""

    def __init__(self, bad: NDArray[np.bool_], first_column: int, allowed: Sequence[int]) -> None:
        rows, columns = np.nonzero(bad)
        self.row, self.column = int(rows[0]), first_column + int(columns[0])
        self.count, self.allowed = len(set(rows.tolist())), ", ".join(map(str, allowed))


def _encode(family: Family, values: NDArray[np.int64]) -> Genotypes:
    """Genotypes from the values of :func:`_design`, shape (n, columns).

    Raises:
        _Wrong: a value is none that the family has.
    """
    units, slots = len(family.units), family.slots
    resolution = _indices(values[:, :1], family.resolutions, 0)
    depth = values[:, 1 : 1 + units]
    _indices(depth, family.depths, 1)
    active = (np.arange(family.max_depth) < depth[:, :, None]).reshape(len(values), slots)
    kernel = _indices(values[:, 1 + units : 1 + units + slots], family.kernels, 1 + units, active)
    expand = _indices(values[:, 1 + units + slots :], family.expands, 1 + units + slots, active)
    choice = np.where(active, 1 + expand * len(family.kernels) + kernel, 0)
    return np.hstack([resolution, choice]).astype(np.int16)


def _indices(
    values: NDArray[np.int64],
    allowed: Sequence[int],
    first_column: int,
    needed: NDArray[np.bool_] | bool = True,
) -> NDArray[np.int64]:
    """Where each value stands in `allowed`, which ascends; -1 is for those not needed."""
    place = np.searchsorted(allowed, values).clip(max=len(allowed) - 1)
    right = np.array(allowed)[place] == values
    if (needed & ~right).any():
        raise _Wrong(np.broadcast_to(needed, values.shape) & ~right, first_column, allowed)
    return np.where(right, place, -1)


def _list(names: Sequence[str]) -> str:
    more = len(names) - LONGEST_LIST
    return ", ".join(names[:LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")


# --- writing ---


def subnet_columns(family: Family, genotypes: Genotypes) -> tuple[list[str], list[list[str]]]:
    """The header and the rows that describe subnets; inactive slots are 0.

    Raises:
        InvalidArch: a row of `genotypes` is no subnet of the family.
    """
    rows = []
    for arch in decode(family, genotypes):
        slots = [
            choice for unit in arch.units for choice in (*unit, *((0, 0),) * (family.max_depth - len(unit)))
        ]
        numbers = (arch.resolution, *arch.depths, *(k for k, _ in slots), *(e for _, e in slots))
        rows.append([str(number) for number in numbers])
    return _design((), family), rows


def write_csv(
    path: Path, header: Sequence[str], cells: Sequence[Sequence[str]], added: Mapping[str, Floats]
) -> None:
    """Write rows and further columns of numbers, six significant digits, at once: a reader sees the old file or
    the new one.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(path.name + ".tmp")
    with open(beside, "w", newline="", encoding="utf-8") as file:
        write_rows(file, header, cells, added)
    os.replace(beside, path)


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
