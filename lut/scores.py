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
