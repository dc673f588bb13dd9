"""Measured accuracies from wherever they come: our own files, and CSV.

A CSV has a column ``accuracy``, in fractions or in per cent but not in both, and says the subnet in a column ``arch``
or in columns ``r, d0.., k00.., e00..``. Where it says in a column ``accuracy_is`` that some were predicted, as
``pareto --csv`` and ``search --csv`` do, only the measured ones are taken. How well each is known may stand in a column
``standard_error``, in the accuracies' own unit, or ``images``, of how many images it is.
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
ERROR_COLUMN, IMAGES_COLUMN = "standard_error", "images"
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
        standard_error: of each, as a fraction, shape (n,), where the file says that they differ in it. Of as many
            images each, they are as well known one as the other, and better than that: the images are the same.
    """

    path: Path
    family: Family
    genotypes: Genotypes
    accuracy: Floats
    origin: AccuracyOrigin
    standard_error: Floats | None = None

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> MeasuredAccuracies:
        """Those at `rows`."""
        error = None if self.standard_error is None else self.standard_error[rows]
        return replace(
            self, genotypes=self.genotypes[rows], accuracy=self.accuracy[rows], standard_error=error
        )

    def inside(self, space: Space, resolutions: Sequence[int] | None = None) -> MeasuredAccuracies:
        """Those of subnets of `space` that can run, at `resolutions` (all unless given)."""
        rule = replace(space, forbidden=frozenset())
        inside = np.array([rule.contains(arch) for arch in decode(self.family, self.genotypes)], dtype=bool)
        inside[inside] &= space.can_run(self.genotypes[inside])
        if resolutions is not None:
            index = [i for i, r in enumerate(self.family.resolutions) if r in resolutions]
            inside &= np.isin(self.genotypes[:, 0], index)
        return self.take(inside)

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


def load_measured(path: Path, family: Family, column: str = COLUMN) -> MeasuredAccuracies:
    """The accuracies of subnets of `family` in a file of either kind; in `column`, if it is a CSV.

    Raises:
        ValueError: the file is broken, or of another family.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        ours = FORMAT.encode() in file.read(200)
    if not ours and (is_measured(path) or column != COLUMN):
        return _from_csv(path, family, column)
    found = Accuracies.load(path)
    if found.header.family != family.name:
        raise InputError(f"{path} holds accuracies of family {found.header.family}, not of {family.name}")
    return MeasuredAccuracies(path, family, *found.arrays(), AccuracyOrigin.of(found.header))


def _from_csv(path: Path, family: Family, column: str) -> MeasuredAccuracies:
    table = read_subnets(path, family)
    if column not in table.header:
        raise InputError(f"{path} has no column {column}; it has {', '.join(table.header[:8])}")
    rows = np.flatnonzero(_measured(table))
    if not len(rows):
        raise InputError(f"{path} holds no measured accuracies, only predicted ones")
    accuracy, unit = _fractions(table, rows, column)
    error, images = _known(table, rows, accuracy, unit)
    genotypes = table.genotypes[rows]
    _, first, group = np.unique(genotypes, axis=0, return_index=True, return_inverse=True)
    contradicts = np.abs(accuracy - accuracy[first][group.reshape(-1)]) > SAME
    if contradicts.any():
        worst = int(rows[np.argmax(contradicts)])
        raise InputError(
            f"{path}, line {table.lines[worst]}: the subnet stands there with another accuracy already "
            f"({int(contradicts.sum())} rows contradict others): correct or delete them"
        )
    found = MeasuredAccuracies(path, family, genotypes, accuracy, AccuracyOrigin(images=images), error)
    return found.take(np.sort(first))


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


def _numbers(table: SubnetsCsv, rows: NDArray[np.intp], column: str, least: float, most: float) -> Floats:
    """A column of some rows, shape (rows,), or InputError if a number is none, or not from `least` to `most`."""
    at = table.header.index(column)
    values = np.empty(len(rows))
    for i, row in enumerate(rows.tolist()):
        text = table.cells[row][at]
        try:
            values[i] = float(text)
        except ValueError:
            values[i] = np.nan
        if not least <= values[i] <= most:
            raise InputError(
                f"{table.path}, line {table.lines[row]}: {column} is {text!r}, not {_MEANING.get(column, _FRACTION)}"
            )
    return values


_FRACTION = "a fraction from 0 to 1 or a per cent from 0 to 100"
_MEANING = {
    ERROR_COLUMN: "a standard error from 0 to 100",
    IMAGES_COLUMN: "how many images were classified, from 1 up",
}


def _fractions(table: SubnetsCsv, rows: NDArray[np.intp], column: str) -> tuple[Floats, float]:
    """The accuracies in some rows, shape (rows,), and what one is in the file's unit, 1 or 100.

    Raises:
        InputError: they are no accuracies; names the line.
    """
    values = _numbers(table, rows, column, 0, 100)
    above, below = np.flatnonzero(values > 1), np.flatnonzero((values > 0) & (values <= 1))
    if not len(above):
        return values, 1.0
    if not len(below):
        return values / 100, 100.0
    few, others = (above, below) if len(above) < len(below) else (below, above)
    row = int(rows[few[0]])
    raise InputError(
        f"{table.path}, line {table.lines[row]}: {column} is {values[few[0]]:g}, that of most other rows from "
        f"{values[others].min():g} to {values[others].max():g}: fractions and per cent are mixed; give one of the two"
    )


def _known(
    table: SubnetsCsv, rows: NDArray[np.intp], accuracy: Floats, unit: float
) -> tuple[Floats | None, int | None]:
    """The standard error of each row as a fraction, where they differ in it, and of how many images all are, if all
    are of as many."""
    if ERROR_COLUMN in table.header and IMAGES_COLUMN in table.header:
        raise InputError(f"{table.path} has columns {ERROR_COLUMN} and {IMAGES_COLUMN}: leave out one")
    if ERROR_COLUMN in table.header:
        error = _numbers(table, rows, ERROR_COLUMN, 0, 100) / unit
        return (error if np.ptp(error) else None), None
    if IMAGES_COLUMN not in table.header:
        return None, None
    images = _numbers(table, rows, IMAGES_COLUMN, 1, 1e12)
    if not np.ptp(images):
        return None, int(images[0])
    # None or all of few images right does not mean that a subnet always is: as if two more had been half right.
    likely = (accuracy * images + 1) / (images + 2)
    return np.sqrt(likely * (1 - likely) / images), None
