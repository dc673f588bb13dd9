"""Prediction intervals whose coverage does not rest on a model being right.

The errors that cross-validation made on rows it had not seen are divided by how difficult each row looked;
the quantile of these ratios, times the difficulty of a new row, is the half-width of its interval (cross-conformal
prediction, Vovk 2015; normalised as by Papadopoulos et al. 2008). It covers as promised for rows drawn like those
it was given, and is narrow where the device is predictable.
"""

from __future__ import annotations

import math

import numpy as np

from compofa.errors import InputError
from lut.predictors.base import Floats, Rows, random_folds

NORMALISED_FROM = 50
"""Rows; with fewer the difficulty is the same for all."""
EASIEST = 0.25
"""Share of the typical difficulty that none falls below: little was seen there."""

CAP = 0.9
"""Quantile of the errors at which they are cut for the difficulty: a row that was spoiled by chance says little
about its like."""


class Conformal:
    """Intervals for one predictor, from its cross-validated errors.

    Args:
        rows: that it was fitted on.
        latency_ms: measured, shape (n,).
        unseen_ms: what it predicted for each row when fitted without it, shape (n,).
        seed: of the difficulty's forest.
    """

    def __init__(self, rows: Rows, latency_ms: Floats, unseen_ms: Floats, seed: int = 0) -> None:
        signed = np.log(latency_ms / unseen_ms)
        error = np.abs(signed)
        self.difficulty = _Difficulty(rows, unseen_ms, error, seed)
        self.ratios = np.sort(error / self.difficulty.unseen)
        self.excesses = np.sort(signed / self.difficulty.unseen)

    def least_coverage(self) -> float:
        """The largest coverage that so many rows can promise."""
        return len(self.ratios) / (len(self.ratios) + 1)

    def interval(self, rows: Rows, predicted_ms: Floats, coverage: float) -> tuple[Floats, Floats]:
        """Bounds around `predicted_ms`, each of shape (n,).

        Raises:
            ValueError: `coverage` is not above 0 and below 1, or is more than so few rows can promise.
        """
        half = self.ratios[self._rank(coverage) - 1] * self.difficulty.of(rows, predicted_ms)
        return predicted_ms * np.exp(-half), predicted_ms * np.exp(half)

    def upper(self, rows: Rows, predicted_ms: Floats, coverage: float) -> Floats:
        """What a measurement stays within with probability `coverage`, shape (n,): an interval open below.

        Raises:
            ValueError: as :meth:`interval`.
        """
        excess = self.excesses[self._rank(coverage) - 1]
        found: Floats = predicted_ms * np.exp(excess * self.difficulty.of(rows, predicted_ms))
        return found

    def _rank(self, coverage: float) -> int:
        if not 0 < coverage < 1:
            raise InputError(f"a coverage is above 0 and below 1, not {coverage}")
        rank = max(math.ceil(coverage * (len(self.ratios) + 1) - 1e-9), 1)
        if rank > len(self.ratios):
            raise InputError(
                f"{len(self.ratios)} measured rows promise no coverage above {self.least_coverage():.3f}"
            )
        return rank


def checked_coverage(
    rows: Rows, latency_ms: Floats, unseen_ms: Floats, coverage: float, seed: int = 0
) -> float:
    """Share of the rows, in percent, that intervals from the other folds' errors hold.

    Args:
        rows, latency_ms, unseen_ms: as for :class:`Conformal`, n at least 20.
        coverage: that the intervals promise.
        seed: of the folds.
    """
    held = 0
    for fold in random_folds(len(rows), 5, seed):
        others = np.setdiff1d(np.arange(len(rows)), fold)
        conformal = Conformal(rows[others], latency_ms[others], unseen_ms[others], seed)
        low, high = conformal.interval(rows[fold], unseen_ms[fold], coverage)
        held += int(((low <= latency_ms[fold]) & (latency_ms[fold] <= high)).sum())
    return 100 * held / len(rows)


class _Difficulty:
    """How large an error to expect, up to a factor: a forest on a few coarse columns.

    Attributes:
        unseen: of each row, by the trees that did not see it, shape (n,).
    """

    def __init__(self, rows: Rows, unseen_ms: Floats, error: Floats, seed: int) -> None:
        self.unseen = np.ones(len(rows))
        self.forest = None
        if len(rows) < NORMALISED_FROM:
            return
        from sklearn.ensemble import RandomForestRegressor

        leaf = max(10, len(rows) // 20)
        capped = np.minimum(error, np.quantile(error, CAP))
        self.forest = RandomForestRegressor(
            100, min_samples_leaf=leaf, max_features=0.5, oob_score=True, random_state=seed, n_jobs=1
        ).fit(_coarse(rows, unseen_ms), capped)
        self.least = max(EASIEST * float(np.median(self.forest.oob_prediction_)), np.finfo(float).tiny)
        self.unseen = np.maximum(self.forest.oob_prediction_, self.least)

    def of(self, rows: Rows, predicted_ms: Floats) -> Floats:
        """The difficulty of each of `rows`, shape (n,)."""
        if self.forest is None:
            return np.ones(len(rows))
        return np.maximum(self.forest.predict(_coarse(rows, predicted_ms)), self.least)


def _coarse(rows: Rows, predicted_ms: Floats) -> Floats:
    return np.column_stack([predicted_ms, rows.linear["launches"][:, 1:], rows.linear["work"]])
