"""The later of two clocks: the host that launches and the device that works.

A network whose kernels are small waits for the host, one whose kernels are large for the device; between the
two regimes latency bends. (The idea of the roofline, Williams et al., CACM 52 (2009), with the host's launches as
the flat part.) A sum of blocks cannot bend, which is why additive models fail in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lut.predictors.base import column_size

Floats = NDArray[np.float64]

STARTS = (0.3, 0.7)
"""Shares of the typical latency that the device may begin with: the bend has local minima."""
START_POWER = 3.0
PULL = 0.02
"""How strongly the prices are held to where they began: decides only what the data leave open."""
SOFT_LIMIT = 0.03
"""Relative error from which on a measurement counts linearly."""
STEPS = 60
"""Evaluations of a search; it has long converged by then, or the data leave it open."""
SHARPEST = 6.0
"""Logarithm of the power less 1, from which on it makes no difference."""


@dataclass(frozen=True)
class Later:
    """``(launch^p + work^p)^(1/p)``: each side a sum at prices that are not negative, p >= 1; 1 adds the two, large p
    takes the larger.

    Args:
        launch_ms: milliseconds per unit of each of the host's columns, shape (l,).
        work_ms: likewise of the device's columns, shape (w,).
        power: p.
    """

    launch_ms: Floats
    work_ms: Floats
    power: float

    def sides(self, launches: Floats, work: Floats) -> tuple[Floats, Floats]:
        """Milliseconds of the host and of the device, each of shape (n,), from columns of shapes (n, l) and (n, w)."""
        return launches @ self.launch_ms, work @ self.work_ms

    def predict(self, launches: Floats, work: Floats) -> Floats:
        """Milliseconds, shape (n,), from columns of shapes (n, l) and (n, w)."""
        return later(*self.sides(launches, work), self.power)


def later(launch_ms: Floats, work_ms: Floats, power: float) -> Floats:
    """The law itself: shapes (n,) and (n,) to (n,), positive."""
    most = np.maximum(launch_ms, work_ms)
    shares = (launch_ms / most) ** power + (work_ms / most) ** power
    return np.asarray(most * shares ** (1 / power))


def fit(launches: Floats, work: Floats, latency_ms: Floats, start: Later | None = None) -> Later:
    """The prices and the power that make the relative errors small, robustly.

    Args:
        launches: the host's columns, shape (n, l), not negative.
        work: the device's columns, shape (n, w), not negative.
        latency_ms: measured, shape (n,), positive.
        start: where to begin, from a fit on nearly the same rows; from two places unless given.
    """
    from scipy.optimize import least_squares

    sizes = column_size(launches), column_size(work)
    problem = _Problem(launches / sizes[0], work / sizes[1], latency_ms)
    begins = [problem.start(share) for share in STARTS] if start is None else [_logs(start, *sizes)]
    found = [
        least_squares(
            problem.errors,
            begin,
            jac=problem.slopes,
            loss="soft_l1",
            f_scale=SOFT_LIMIT,
            max_nfev=STEPS,
            args=(problem.start(STARTS[0]) if start is not None else begin,),
        )
        for begin in begins
    ]
    logs = min(found, key=lambda result: float(result.cost)).x
    count = launches.shape[1]
    return Later(np.exp(logs[:count]) / sizes[0], np.exp(logs[count:-1]) / sizes[1], _power(logs[-1]))


def _logs(of: Later, launch_size: Floats, work_size: Floats) -> Floats:
    prices = np.concatenate([of.launch_ms * launch_size, of.work_ms * work_size])
    return np.append(np.log(np.maximum(prices, 1e-300)), np.log(max(of.power - 1, 1e-300)))


def _power(log: float) -> float:
    return float(1 + np.exp(min(log, SHARPEST)))


@dataclass(frozen=True)
class _Problem:
    """What :func:`fit` makes small, of the logarithms of the prices and of the power less 1."""

    launches: Floats
    work: Floats
    latency_ms: Floats

    def start(self, share: float) -> Floats:
        """Where a search begins: the host at what the fastest take, the device at a share of the mean."""
        launches, work = self.launches.shape[1], self.work.shape[1]
        launch_ms = np.full(launches, np.quantile(self.latency_ms, 0.2) / launches)
        work_ms = np.full(work, share * self.latency_ms.mean() / work)
        return np.append(np.log(np.concatenate([launch_ms, work_ms])), START_POWER)

    def errors(self, logs: Floats, held_to: Floats) -> Floats:
        """Relative errors, then how far the logarithms are from `held_to`; shape (n + parameters,)."""
        predicted = later(*self._sides(logs), _power(logs[-1]))
        return np.append(predicted / self.latency_ms - 1, self._pull * (logs - held_to))

    def slopes(self, logs: Floats, held_to: Floats) -> Floats:
        """The derivatives of :meth:`errors`, shape (n + parameters, parameters)."""
        launch_ms, work_ms = self._sides(logs)
        power = _power(logs[-1])
        most = np.maximum(launch_ms, work_ms)
        shares = [(side / most) ** power for side in (launch_ms, work_ms)]
        total = shares[0] + shares[1]
        predicted = most * total ** (1 / power)
        prices, count = np.exp(logs[:-1]), self.launches.shape[1]
        of_launch = ((launch_ms / predicted) ** (power - 1))[:, None] * self.launches * prices[:count]
        of_work = ((work_ms / predicted) ** (power - 1))[:, None] * self.work * prices[count:]
        bent = sum(
            share * np.log(np.maximum(side / most, 1e-300))
            for share, side in zip(shares, (launch_ms, work_ms), strict=True)
        )
        of_power = predicted * (bent / (power * total) - np.log(total) / power**2) * (power - 1)
        if logs[-1] >= SHARPEST:
            of_power = np.zeros_like(of_power)
        slopes = np.column_stack([of_launch, of_work, of_power]) / self.latency_ms[:, None]
        return np.vstack([slopes, self._pull * np.eye(len(logs))])

    @property
    def _pull(self) -> float:
        return float(PULL / np.sqrt(len(self.latency_ms)))

    def _sides(self, logs: Floats) -> tuple[Floats, Floats]:
        count = self.launches.shape[1]
        return self.launches @ np.exp(logs[:count]), self.work @ np.exp(logs[count:-1])
