"""Latency as a sum: of what it costs to launch and to do the work, or of every choice that a subnet makes."""

from __future__ import annotations

from typing import Self

import numpy as np

from lut.predictors.base import Estimator, Floats, Rows, column_size
from lut.robust import HUBER_ROUNDS, huber_weights

ALPHAS = tuple(10.0 ** np.arange(-4, 3.1, 0.5))


class Additive(Estimator):
    """Launches and work, each with a price that is not negative: the calibrated additive model.

    Its few terms are hard to beat on few rows, and its prices can be read.
    """

    name = "additive"
    min_rows = 8

    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        from scipy.optimize import nnls

        costs = rows.costs
        self.size = column_size(costs)
        relative = costs / self.size / latency_ms[:, None]
        weight = np.ones(len(rows))
        for _ in range(HUBER_ROUNDS):
            root = np.sqrt(weight)
            price, _ = nnls(relative * root[:, None], root)
            weight = huber_weights(relative @ price - 1)
        self.price_ms = price / self.size
        return self

    def predict(self, rows: Rows) -> Floats:
        return rows.costs @ self.price_ms


class Ridge(Estimator):
    """Ridge regression on all linear columns, the groups scaled alike, the relative error weighed.

    The strength of the penalty is chosen by (efficient) leave-one-out cross-validation.
    """

    name = "ridge"
    min_rows = 10

    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        from sklearn.linear_model import RidgeCV

        self.size = {g: _size(part) for g, part in rows.linear.items()}
        self.model = RidgeCV(alphas=ALPHAS, gcv_mode="eigen").fit(
            self._columns(rows), latency_ms, sample_weight=latency_ms**-2
        )
        return self

    def predict(self, rows: Rows) -> Floats:
        predicted: Floats = self.model.predict(self._columns(rows))
        return predicted

    def _columns(self, rows: Rows) -> Floats:
        return np.hstack([part / self.size[group] for group, part in rows.linear.items()])


def _size(part: Floats) -> Floats:
    """What divides the columns of a group, so that all its columns together weigh as much as another group's."""
    columns = column_size(part)
    return columns * max(float(np.sqrt(((part / columns).var(axis=0)).sum())), 1e-12)
