"""The columns of numbers that describe a subnet in a CSV file: ``r, d0.., k00.., e00..`` (:mod:`lut.subnets_csv`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout
from lut.predictors.base import Floats


def parse_number(text: str) -> float:
    """NaN for what is no number; Python would also read ``1_0`` and digits of other scripts."""
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


class Numbers(dict[str, float]):
    """Text -> number, -1 for anything else; each text is parsed once."""

    def __missing__(self, text: str) -> float:
        value = parse_number(text)
        self[text] = value if 0 <= value < 1e6 else -1
        return self[text]


def _slot(letter: str, slot: int) -> str:
    return f"{letter}{slot:02d}"


@dataclass(frozen=True)
class Column:
    """A column of numbers that describes a part of a subnet.

    Args:
        name: in the header.
        values: that it may have.
        unit: elastic unit that it belongs to; -1 for the resolution.
        slot: that it is of; -1 for a column of the whole unit.
        axis: of the unit's, for a slot's column.
    """

    name: str
    values: tuple[float, ...]
    unit: int = -1
    slot: int = -1
    axis: int = -1


def columns_of(header: Sequence[str], family: Family) -> list[Column]:
    """The columns that describe a subnet, with the file's own name for kernels: the resolution, the depth of each unit,
    each axis slot by slot, the multiplier of each unit's width where it has several."""
    at = layout(family)
    found = [Column("r", family.resolutions)]
    found += [Column(f"d{number}", unit.depths, number) for number, unit in enumerate(at.units)]
    for name in dict.fromkeys(axis.name for unit in at.units for axis in unit.axes):
        letter = "ks" if name == "kernel" and _slot("ks", 0) in header else name[0]
        for slot in range(at.slots):
            number, _ = at.slot(slot)
            unit = at.units[number]
            if axis := unit.axis(name):
                found.append(Column(_slot(letter, slot), axis.values, number, slot, unit.axes.index(axis)))
    found += [Column(f"w{number}", at.units[number].width_mults, number) for number in at.wide_units]
    return found


def design(header: Sequence[str], family: Family) -> list[str]:
    """The names of :func:`columns_of`."""
    return [column.name for column in columns_of(header, family)]


class WrongValue(Exception):
    """A value is none that the family has."""

    def __init__(self, column: int, rows: NDArray[np.intp], allowed: Sequence[float], count: int) -> None:
        self.column, self.row, self.count = column, int(rows[0]), count
        self.allowed = ", ".join(f"{value:g}" for value in allowed)


def encode_columns(family: Family, columns: Sequence[Column], values: Floats) -> Genotypes:
    """Genotypes from the values of `columns`, shape (n, columns).

    Raises:
        WrongValue: a value is none that the family has; the one in the first row of all.
    """
    at = layout(family)
    rows = np.zeros((len(values), at.columns), dtype=np.int16)
    active = np.ones((len(values), at.slots), dtype=np.bool_)
    wrong: list[tuple[int, NDArray[np.bool_]]] = []
    choice = np.zeros((len(values), at.slots), dtype=np.int64)
    for c, (column, given) in enumerate(zip(columns, values.T, strict=True)):
        needed = active[:, column.slot] if column.slot >= 0 else np.ones(len(given), dtype=np.bool_)
        place = np.searchsorted(column.values, given).clip(max=len(column.values) - 1)
        bad = needed & (np.array(column.values)[place] != given)
        if bad.any():
            wrong.append((c, bad))
        if column.slot >= 0:
            # The first axis changes fastest.
            before = at.units[column.unit].axes[: column.axis]
            choice[:, column.slot] += place * math.prod(len(axis.values) for axis in before)
        elif column.unit < 0:
            rows[:, 0] = place
        elif column.name[0] == "d":
            positions = np.arange(at.units[column.unit].max_depth)
            active[:, at.starts[column.unit] : at.starts[column.unit + 1]] = positions < given[:, None]
        else:
            rows[:, at.width_column(column.unit)] = place
    if wrong:
        c, bad = min(wrong, key=lambda each: (int(np.flatnonzero(each[1])[0]), each[0]))
        count = int(np.any([each for _, each in wrong], axis=0).sum())
        raise WrongValue(c, np.flatnonzero(bad), columns[c].values, count)
    rows[:, 1 : 1 + at.slots] = np.where(active, 1 + choice, 0)
    return rows


def families_of(names: Sequence[str]) -> str:
    """``r, d0.., k00.., e00..`` of all columns."""
    first = dict.fromkeys(name.rstrip("0123456789") for name in names)
    starts = {
        letters: next(name for name in names if name.rstrip("0123456789") == letters) for letters in first
    }
    return ", ".join(name if name == "r" else f"{name}.." for name in starts.values())
