"""The later of the host that launches and the device that works, on rows (:mod:`lut.later`)."""

from __future__ import annotations

from typing import Self

import numpy as np

from lut import later
from lut.predictors.base import Estimator, Floats, Rows


class Roofline(Estimator):
    """Launches at one clock, work and a constant at the other, at prices that are not negative."""

    name = "roofline"
    min_rows = 12

    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        self.law = later.fit(*_columns(rows), latency_ms)
        return self

    def sides(self, rows: Rows) -> tuple[Floats, Floats]:
        """Milliseconds of the host's launches and of the device's work, each of shape (n,)."""
        return self.law.sides(*_columns(rows))

    def predict(self, rows: Rows) -> Floats:
        return self.law.predict(*_columns(rows))


def _columns(rows: Rows) -> tuple[Floats, Floats]:
    return rows.linear["launches"], np.column_stack([np.ones(len(rows)), rows.linear["work"]])
