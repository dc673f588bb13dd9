"""A roofline with a learned residual: the predictor that fills the gaps of a table of blocks.

The latency of a block is a sum of costs with weights that are not negative (the roofline's idea, with a sum
for its maximum), times the exponential of a Gaussian process over the block's descriptors. The sum carries
over to shapes nobody measured; the process learns, from similar blocks, what the sum leaves out, and knows how
far away the measured ones are: its variance says which block is worth measuring next (:mod:`lut.design`).

Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), sections 2.2 and 5.4.2 for the
leave-one-out errors; Williams et al., Roofline, CACM 52 (2009).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from compofa.errors import InputError
from lut.predictors.base import Floats, Predictor, Rows, random_folds

MIN_ROWS = 20
"""Fewer tell little about the costs, and nothing about the error."""
MAX_FITTED = 600
"""Rows on which the kernel's three numbers are fitted (cubic in them); all rows are then conditioned on."""
LEAST_SHARE = 0.1
"""Of the fastest measured block, that any block costs: no sum of costs may come out as nothing."""


@dataclass(frozen=True)
class Kernel:
    """``variance * matern52(distance / length)`` of log latencies, and ``noise`` of each measurement's own.

    A single length for all descriptors, which are scaled for that: fitted to 60 to 300 blocks, a length for each was
    no more accurate, and claimed far too narrow intervals.
    """

    variance: float = 0.1
    length: float = 3.0
    noise: float = 1e-4

    def between(self, one: Floats, other: Floats) -> Floats:
        """Covariance of the rows of `one` (n, columns) with those of `other` (m, columns), shape (n, m)."""
        from scipy.spatial.distance import cdist

        scaled = math.sqrt(5) * cdist(one, other) / self.length
        covariance: Floats = self.variance * (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
        return covariance


@dataclass(frozen=True)
class Fitted:
    """The sum of costs and, unless `kernel` is None, the process, conditioned on n measured rows.

    Args:
        weights: of the costs.
        floor_ms: no block is predicted to cost less.
        kernel: of the residual.
        points: descriptors of the measured rows, shape (n, columns).
        residual: log of measured over costs, shape (n,).
    """

    weights: Floats
    floor_ms: float
    kernel: Kernel | None
    points: Floats
    residual: Floats

    @classmethod
    def of(cls, rows: Rows, latency_ms: Floats, with_kernel: bool) -> Self:
        """Fit everything."""
        weights = fit_costs(rows.costs, latency_ms)
        costs_only = cls(weights, LEAST_SHARE * float(latency_ms.min()), None, rows.general, latency_ms)
        residual = np.asarray(np.log(latency_ms / costs_only.costs_ms(rows)))
        kernel = fit_kernel(rows.general, residual) if with_kernel else None
        return cls(weights, costs_only.floor_ms, kernel, rows.general, residual)

    def costs_ms(self, rows: Rows) -> Floats:
        """The sum of costs, shape (n,)."""
        return np.asarray(np.maximum(rows.costs @ self.weights, self.floor_ms))

    @cached_property
    def _inverse(self) -> Floats:
        if self.kernel is None:
            raise InputError("there is no process")
        covariance = self.kernel.between(self.points, self.points)
        covariance += self.kernel.noise * np.eye(len(covariance))
        return np.asarray(np.linalg.inv(covariance), dtype=np.float64)

    def predict(self, rows: Rows) -> tuple[Floats, Floats]:
        """Median latency in ms and standard deviation of a new measurement's log latency, each of shape (n,)."""
        if self.kernel is None:
            return self.costs_ms(rows), np.ones(len(rows))
        cross = self.kernel.between(rows.general, self.points)
        known = (cross @ self._inverse * cross).sum(axis=1)
        variance = np.maximum(self.kernel.variance - known, 0) + self.kernel.noise
        return self.costs_ms(rows) * np.exp(cross @ (self._inverse @ self.residual)), np.sqrt(variance)


class RooflineResidual(Predictor):
    """Chooses by cross-validation whether the residual is worth learning; takes the intervals from there.

    Args:
        seed: of the folds.

    Attributes:
        chosen: ``costs`` or ``costs + kernel``.
        cv_mape_pct: of each of the two, the mean absolute error in percent, cross-validated over the rows.
    """

    chosen: str
    cv_mape_pct: dict[str, float]

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        latency = np.asarray(latency_ms, dtype=float)
        if len(rows) < MIN_ROWS:
            raise InputError(
                f"{MIN_ROWS} measured blocks or more are needed to predict others, not {len(rows)}"
            )
        if latency.shape != (len(rows),) or not (np.isfinite(latency).all() and (latency > 0).all()):
            raise InputError("latencies must be positive numbers of milliseconds, one for each row")
        tried = {
            name: cross_validate(rows, latency, kernel, self.seed) for name, kernel in CANDIDATES.items()
        }
        self.cv_mape_pct = {name: _mape_pct(errors) for name, (errors, _) in tried.items()}
        self.chosen = min(self.cv_mape_pct, key=self.cv_mape_pct.__getitem__)
        errors, spread = tried[self.chosen]
        self._scores = np.sort(np.abs(errors) / spread)
        self._fitted = Fitted.of(rows, latency, CANDIDATES[self.chosen])
        return self

    @property
    def kernel(self) -> Kernel | None:
        """Of the residual, if it was chosen."""
        return self._fitted.kernel

    def predict(self, rows: Rows) -> Floats:
        return self._fitted.predict(rows)[0]

    def interval(self, rows: Rows, coverage: float = 0.9) -> tuple[Floats, Floats]:
        """The process's own spread, stretched to what it got wrong in cross-validation (a conformal quantile of
        the errors in units of that spread): wide where no measured block is near."""
        if not 0 < coverage < 1:
            raise InputError(f"a coverage lies between 0 and 1, not {coverage:g}")
        rank = math.ceil((len(self._scores) + 1) * coverage)
        if rank > len(self._scores):
            raise InputError(
                f"{len(self._scores)} measured blocks are too few for a coverage of {coverage:g}"
            )
        middle, spread = self._fitted.predict(rows)
        half = self._scores[rank - 1] * spread
        return middle * np.exp(-half), middle * np.exp(half)


CANDIDATES = {"costs": False, "costs + kernel": True}
FOLDS = 5


def cross_validate(rows: Rows, latency_ms: Floats, with_kernel: bool, seed: int) -> tuple[Floats, Floats]:
    """Log of measured over predicted when each fold is predicted from the others, and the spread that was claimed;
    each of shape (n,)."""
    errors, spread = np.empty(len(rows)), np.empty(len(rows))
    for held_out in random_folds(len(rows), FOLDS, seed):
        others = np.ones(len(rows), dtype=bool)
        others[held_out] = False
        fitted = Fitted.of(rows[others], latency_ms[others], with_kernel)
        predicted, spread[held_out] = fitted.predict(rows[held_out])
        errors[held_out] = np.log(latency_ms[held_out] / predicted)
    return errors, spread


def _mape_pct(log_errors: Floats) -> float:
    """Of predictions whose logarithm is too small by `log_errors`."""
    return float(100 * np.mean(np.abs(np.expm1(-log_errors))))


def fit_costs(costs: Floats, latency_ms: Floats) -> Floats:
    """Weights of the columns of `costs` (n, columns), none negative, with the least squared relative error."""
    from scipy.optimize import nnls

    relative = costs / latency_ms[:, None]
    size = relative.max(axis=0)
    size[size == 0] = 1.0  # a cost that none of these blocks has
    weights, _ = nnls(relative / size, np.ones(len(costs)))
    scaled: Floats = weights / size
    return scaled


def fit_kernel(points: Floats, residual: Floats) -> Kernel:
    """The kernel of greatest marginal likelihood.

    Args:
        points: descriptors, shape (n, columns); evenly spread rows are used if they are many.
        residual: log of measured over roofline, shape (n,).
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    some = np.linspace(0, len(points) - 1, min(len(points), MAX_FITTED)).astype(int)
    start = Kernel()
    shape: Any = ConstantKernel(start.variance, (1e-4, 10)) * Matern(start.length, (0.2, 50), nu=2.5)
    shape += WhiteKernel(start.noise, (1e-7, 0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a number at its bound is no trouble
        fitted = GaussianProcessRegressor(shape).fit(points[some], residual[some])
    variance, length, noise = np.exp(fitted.kernel_.theta)
    return Kernel(float(variance), float(length), float(noise))
