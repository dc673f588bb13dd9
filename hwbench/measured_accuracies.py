"""Measured accuracies from wherever they come: our own files, and CSV.

A CSV has a column ``accuracy``, in fractions or in per cent but not in both, and says the subnet in a column ``arch``
or in columns ``r, d0.., k00.., e00..``. Where it says in a column ``accuracy_is`` that some were predicted, as
``pareto --csv`` and ``search --csv`` do, only the measured ones are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy import Accuracies
from compofa.accuracy.measured import FORMAT
from compofa.accuracy.origin import AccuracyOrigin
from compofa.errors import InputError
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, decode
from compofa.spaces.space import Space
from lut.subnets_csv import SubnetsCsv, read_subnets

Floats = NDArray[np.float64]
COLUMN, ORIGIN_COLUMN = "accuracy", "accuracy_is"
SAME = 1e-9


@dataclass(frozen=True)
class MeasuredAccuracies:
    """Subnets with their measured accuracy, each once.

    Args:
        path: the file that they come from.
        family: whose subnets.
        genotypes: shape (n, 1 + slots).
        accuracy: fractions, shape (n,).
        origin: what they are of, as far as the file says.
    """

    path: Path
    family: Family
    genotypes: Genotypes
    accuracy: Floats
    origin: AccuracyOrigin

    def inside(self, space: Space, resolutions: Sequence[int] | None = None) -> MeasuredAccuracies:
        """Those of subnets of `space` that can run, at `resolutions` (all unless given)."""
        rule = replace(space, forbidden=frozenset())
        inside = np.array([rule.contains(arch) for arch in decode(self.family, self.genotypes)], dtype=bool)
        inside[inside] &= space.can_run(self.genotypes[inside])
        if resolutions is not None:
            index = [i for i, r in enumerate(self.family.resolutions) if r in resolutions]
            inside &= np.isin(self.genotypes[:, 0], index)
        return replace(self, genotypes=self.genotypes[inside], accuracy=self.accuracy[inside])

    @property
    def resolutions(self) -> tuple[int, ...]:
        """At which some subnet was measured, ascending."""
        return tuple(self.family.resolutions[i] for i in np.unique(self.genotypes[:, 0]))


def is_measured(path: Path) -> bool:
    """Whether the file is one of measured accuracies, by its first bytes; what is in it is not looked at.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    return FORMAT.encode() in start[:200] or path.suffix.lower() == ".csv" or _has_column(start)


def _has_column(start: bytes) -> bool:
    first = start.split(b"\n")[0].removeprefix(b"\xef\xbb\xbf")
    return COLUMN.encode() in [name.strip(b' "\r') for name in first.split(b",")]


def load_measured(path: Path, family: Family) -> MeasuredAccuracies:
    """The accuracies of subnets of `family` in a file of either kind.

    Raises:
        ValueError: the file is broken, or of another family.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        ours = FORMAT.encode() in file.read(200)
    if not ours and is_measured(path):
        return _from_csv(path, family)
    found = Accuracies.load(path)
    if found.header.family != family.name:
        raise InputError(f"{path} holds accuracies of family {found.header.family}, not of {family.name}")
    return MeasuredAccuracies(path, family, *found.arrays(), AccuracyOrigin.of(found.header))


def _from_csv(path: Path, family: Family) -> MeasuredAccuracies:
    table = read_subnets(path, family)
    if COLUMN not in table.header:
        raise InputError(f"{path} has no column {COLUMN}; it has {', '.join(table.header[:8])}")
    rows = np.flatnonzero(_measured(table))
    if not len(rows):
        raise InputError(f"{path} holds no measured accuracies, only predicted ones")
    accuracy = _fractions(table, rows)
    genotypes = table.genotypes[rows]
    _, first, group = np.unique(genotypes, axis=0, return_index=True, return_inverse=True)
    contradicts = np.abs(accuracy - accuracy[first][group.reshape(-1)]) > SAME
    if contradicts.any():
        worst = int(rows[np.argmax(contradicts)])
        raise InputError(
            f"{path}, line {table.lines[worst]}: the subnet stands there with another accuracy already "
            f"({int(contradicts.sum())} rows contradict others): correct or delete them"
        )
    order = np.sort(first)
    return MeasuredAccuracies(path, family, genotypes[order], accuracy[order], AccuracyOrigin())


def _measured(table: SubnetsCsv) -> NDArray[np.bool_]:
    """Which rows are measured accuracies."""
    if ORIGIN_COLUMN not in table.header:
        return np.ones(len(table.cells), dtype=np.bool_)
    at = table.header.index(ORIGIN_COLUMN)
    words = [row[at].strip() for row in table.cells]
    for line, word in zip(table.lines, words, strict=True):
        if word not in ("measured", "predicted"):
            raise InputError(
                f"{table.path}, line {line}: {ORIGIN_COLUMN} is {word!r}, not measured or predicted"
            )
    return np.array([word == "measured" for word in words])


def _fractions(table: SubnetsCsv, rows: NDArray[np.intp]) -> Floats:
    """The accuracies in some rows, shape (rows,).

    Raises:
        InputError: they are no accuracies; names the line.
    """
    at = table.header.index(COLUMN)
    values = np.empty(len(rows))
    for i, row in enumerate(rows.tolist()):
        text = table.cells[row][at]
        try:
            values[i] = float(text)
        except ValueError:
            values[i] = np.nan
        if not 0 <= values[i] <= 100:
            raise InputError(
                f"{table.path}, line {table.lines[row]}: {COLUMN} is {text!r}, not a fraction from 0 to 1 or a per "
                "cent from 0 to 100"
            )
    if values.max() <= 1:
        return values
    below = np.flatnonzero((values > 0) & (values <= 1))
    if len(below):
        row = int(rows[below[0]])
        raise InputError(
            f"{table.path}, line {table.lines[row]}: {COLUMN} is {table.cells[row][at]}, others are up to "
            f"{values.max():g}: fractions and per cent are mixed; give one of the two"
        )
    return values / 100
