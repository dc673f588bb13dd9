"""How well predicted latencies meet measured ones."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Scores(TypedDict):
    """``mape_pct``: mean absolute error relative to the measured latency, in percent. ``within_5_pct``,
    ``within_10_pct``: share of networks whose error is at most so much, in percent. ``spearman``: rank
    correlation, None where either side is constant."""

    mape_pct: float
    within_5_pct: float
    within_10_pct: float
    spearman: float | None


def mape_pct(measured_ms: NDArray[np.float64], predicted_ms: NDArray[np.float64]) -> float:
    """Mean absolute percentage error of `predicted_ms`, relative to `measured_ms`; both of shape (n,)."""
    return float(100 * np.mean(np.abs(predicted_ms / measured_ms - 1)))


def scores(measured_ms: ArrayLike, predicted_ms: ArrayLike) -> Scores:
    """The scores of `predicted_ms` against `measured_ms`, both of shape (n,), n at least 2."""
    from scipy.stats import rankdata

    measured, predicted = np.asarray(measured_ms, dtype=float), np.asarray(predicted_ms, dtype=float)
    error = np.abs(predicted / measured - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = float(np.corrcoef(rankdata(measured), rankdata(predicted))[0, 1])
    return {
        "mape_pct": mape_pct(measured, predicted),
        "within_5_pct": float(100 * np.mean(error <= 0.05)),
        "within_10_pct": float(100 * np.mean(error <= 0.10)),
        "spearman": None if math.isnan(correlation) else correlation,
    }


def reference_noise_pct(first_ms: NDArray[np.float64], second_ms: NDArray[np.float64]) -> float:
    """What true latencies would score against the mean of two measurements of each, in percent: the noise of the
    value that a model is held against. No model can be held to less.

    The two differ by the errors of both, of standard deviation s each, together s x sqrt(2); their mean is off by
    s / sqrt(2), half of that.
    """
    mean_ms = (first_ms + second_ms) / 2
    return float(50 * np.mean(np.abs(second_ms - first_ms) / mean_ms))
