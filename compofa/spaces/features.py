"""Subnets as inputs of a model: one-hot, in the order of OFA's published accuracy predictors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout


@dataclass(frozen=True)
class ColumnFeatures:
    """What a column of genotypes, after the resolution's, contributes.

    Args:
        places: of the inputs that it sets, shape (k,).
        table: what they are for each of its values, shape (values, k).
    """

    places: NDArray[np.intp]
    table: NDArray[np.float32]


def one_hot(family: Family, genotypes: Genotypes) -> NDArray[np.float32]:
    """Values of each axis, slot by slot (kernels of all slots, then expand ratios of all), whether a block is there
    where nothing else may be chosen of it, widths, and the resolution: shape (n, inputs), 128 for OFA's MobileNetV3 at
    eight resolutions. An inactive slot is all zero."""
    inputs = np.zeros((len(genotypes), feature_count(family) + len(family.resolutions)), dtype=np.float32)
    for column, values in zip(column_features(family), genotypes.T[1:], strict=True):
        inputs[:, column.places] = column.table[values]
    inputs[np.arange(len(genotypes)), feature_count(family) + genotypes[:, 0]] = 1
    return inputs


def feature_count(family: Family) -> int:
    """Inputs of :func:`one_hot` before those of the resolution."""
    return sum(len(column.places) for column in column_features(family))


@lru_cache(maxsize=64)
def column_features(family: Family) -> tuple[ColumnFeatures, ...]:
    """Of each column of genotypes after the first."""
    at = layout(family)
    tables: list[list[NDArray[np.float32]]] = [[] for _ in range(at.columns - 1)]
    places: list[list[int]] = [[] for _ in range(at.columns - 1)]
    count = 0

    def append(column: int, table: NDArray[np.float32]) -> None:
        nonlocal count
        tables[column].append(table)
        places[column] += range(count, count + table.shape[1])
        count += table.shape[1]

    for name in dict.fromkeys(axis.name for unit in at.units for axis in unit.axes):
        for slot in range(at.slots):
            unit = at.units[at.slot(slot)[0]]
            axis = unit.axis(name)
            if axis and len(axis.values) > 1:
                chosen = np.array([choice[unit.axes.index(axis)] for choice in unit.choices])
                append(slot, _after_zero(chosen[:, None] == axis.values))
    for slot in range(at.slots):
        number, position = at.slot(slot)
        unit = at.units[number]
        if len(unit.choices) == 1 and position >= unit.depths[0]:
            append(slot, _after_zero(np.ones((1, 1))))
    for column, number in enumerate(at.wide_units, start=at.slots):
        append(column, np.eye(at.width_count(number), dtype=np.float32))
    values = [1 + int(most) for most in at.choices] + [at.width_count(number) for number in at.wide_units]
    return tuple(
        ColumnFeatures(
            np.array(mine, dtype=np.intp),
            np.hstack(parts) if parts else np.zeros((many, 0), dtype=np.float32),
        )
        for mine, parts, many in zip(places, tables, values, strict=True)
    )


def _after_zero(table: NDArray[np.generic]) -> NDArray[np.float32]:
    """`table` with a row of zeros before it, for the inactive choice."""
    return np.vstack([np.zeros((1, table.shape[1])), table]).astype(np.float32)
