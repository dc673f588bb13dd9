"""What measured subnets tell of those that differ from them in a few choices, beyond what a predictor says.

A predictor's errors are alike for subnets that are nearly the same: what it lacks at the measured ones, weighed by how
near they are, is expected of their neighbours, too (kriging of the residuals; Rasmussen & Williams, Gaussian Processes
for Machine Learning, 2006, section 2.7).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.predictor import AccuracyPredictor
from compofa.errors import InputError
from compofa.spaces.family import Family
from compofa.spaces.features import one_hot
from hwbench.searching.problem import Evaluated, Floats

SHARED = 0.7
"""Of the variance that a predictor does not explain, what subnets that are nearly the same have in common; of 0.3, 0.5
and 0.7 the most likely for 4,600 measured subnets of glyphs."""
REACH = 8.0
"""The squared one-hot distance at which that has fallen to 1/e: four other kernels or expand ratios."""


def told_by_neighbours(
    predictor: AccuracyPredictor, measured: Evaluated, asked: Evaluated, variance: Floats | None = None
) -> tuple[Floats, Floats]:
    """Accuracies of `asked` by a predictor and by what it lacks at their neighbours, and the standard deviations that
    are left, both as fractions, shape (n,).

    Args:
        predictor: that was fitted to `measured`, and says how sure it is.
        measured: with measured accuracies, at resolutions that the predictor knows.
        asked: with accuracies as predicted.
        variance: that is known of each measured accuracy, shape (measured,), where measurements differ in it.

    Raises:
        InputError: the predictor does not say how sure it is.
    """
    if predictor.spread is None:
        raise InputError("the accuracy predictor does not say how sure it is: fit one with hwbench fit")
    floor = predictor.spread.floor
    mine, theirs = (_inputs(predictor.family, some) for some in (measured, asked))
    lacks = measured.accuracy - predictor.predict(measured.genotypes, covered=True)
    noise = np.full(len(mine), 1 - SHARED) + (0.0 if variance is None else variance / floor)
    near = SHARED * _alike(theirs, mine)
    weights = np.linalg.solve(SHARED * _alike(mine, mine) + np.diag(noise), near.T).T
    left = predictor.deviation(asked.genotypes, covered=True) ** 2 - floor * (weights * near).sum(axis=1)
    return asked.accuracy + weights @ lacks, np.sqrt(left)


def _inputs(family: Family, subnets: Evaluated) -> NDArray[np.float64]:
    return one_hot(family, subnets.genotypes).astype(np.float64)


def _alike(one: NDArray[np.float64], two: NDArray[np.float64]) -> Floats:
    """How alike errors are, from 0 to 1, shape (n, m), of inputs (n, d) and (m, d)."""
    squares = (one**2).sum(axis=1)[:, None] + (two**2).sum(axis=1) - 2 * one @ two.T
    found: Floats = np.exp(-np.maximum(squares, 0.0) / REACH)
    return found
