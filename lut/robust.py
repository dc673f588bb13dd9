"""Least squares that a spoiled measurement does not bend: by weights that are found in a few rounds (Huber 1964)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HUBER_ROUNDS = 5
HUBER_LIMIT = 1.345
"""In standard deviations: 95 % efficient when the errors are normal."""


def robust_spread(error: Floats, least: float = 1e-9) -> float:
    """The standard deviation of errors (n,), were they normal, by their median size; `least` or more."""
    return max(1.4826 * float(np.median(np.abs(error))), least)


def huber_weights(error: Floats) -> Floats:
    """The weight of each error, shape (n,)."""
    return np.minimum(1.0, HUBER_LIMIT * robust_spread(error) / np.maximum(np.abs(error), 1e-12))
