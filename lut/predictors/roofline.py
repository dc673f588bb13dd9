"""The later of two clocks: the host that launches and the device that works.

A network whose kernels are small waits for the host, one whose kernels are large for the device; between the
two regimes latency bends. (The idea of the roofline, Williams et al., CACM 52 (2009), with the host's launches as
the flat part.) A sum of blocks cannot bend, which is why additive models fail in between.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from lut.predictors.base import Estimator, Floats, Rows, column_size

STARTS = (0.3, 0.7)
"""Shares of the typical latency that the device may begin with: the bend has local minima."""
PULL = 0.02
"""How strongly the prices are held to where they began: decides only what the data leave open."""
SOFT_LIMIT = 0.03
"""Relative error from which on a measurement counts linearly."""


class Roofline(Estimator):
    """``(launch^p + work^p)^(1/p)``: each side a sum at prices that are not negative, p >= 1 fitted; 1 adds the
    two, large p takes the larger."""

    name = "roofline"
    min_rows = 12

    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        from scipy.optimize import least_squares

        launches, work = rows.linear["launches"], _with_constant(rows.linear["work"])
        self.launch_size, self.work_size = (column_size(part) for part in (launches, work))
        launches, work = launches / self.launch_size, work / self.work_size

        def relative_error(logs: Floats, start: Floats) -> Floats:
            predicted = _later(*_sides(launches, work, logs), logs[-1])
            return np.append(predicted / latency_ms - 1, PULL * (logs - start) / np.sqrt(len(rows)))

        found = []
        for share in STARTS:
            start = self._start(launches.shape[1], work.shape[1], latency_ms, share)
            found.append(
                least_squares(
                    relative_error, start, loss="soft_l1", f_scale=SOFT_LIMIT, max_nfev=60, args=(start,)
                )
            )
        self.logs: Floats = min(found, key=lambda result: float(result.cost)).x
        return self

    @staticmethod
    def _start(launches: int, work: int, latency_ms: Floats, share: float) -> Floats:
        launch_ms = np.full(launches, np.quantile(latency_ms, 0.2) / launches)
        work_ms = np.full(work, share * latency_ms.mean() / work)
        return np.log(np.concatenate([launch_ms, work_ms, [3.0]]))

    def sides(self, rows: Rows) -> tuple[Floats, Floats]:
        """Milliseconds of the host's launches and of the device's work, each of shape (n,)."""
        launches = rows.linear["launches"] / self.launch_size
        return _sides(launches, _with_constant(rows.linear["work"]) / self.work_size, self.logs)

    def predict(self, rows: Rows) -> Floats:
        return _later(*self.sides(rows), self.logs[-1])


def _sides(launches: Floats, work: Floats, logs: Floats) -> tuple[Floats, Floats]:
    middle = launches.shape[1]
    return launches @ np.exp(logs[:middle]), work @ np.exp(logs[middle:-1])


def _later(launch_ms: Floats, work_ms: Floats, log_power: float) -> Floats:
    power = 1 + np.exp(min(log_power, 6.0))
    later = np.maximum(launch_ms, work_ms)
    shares = (launch_ms / later) ** power + (work_ms / later) ** power
    return np.asarray(later * shares ** (1 / power))


def _with_constant(work: Floats) -> Floats:
    return np.column_stack([np.ones(len(work)), work])
