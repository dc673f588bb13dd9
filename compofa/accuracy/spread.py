"""How sure a linear predictor is of each subnet, small enough to ship."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spread:
    """The standard deviation of a predicted accuracy, larger for subnets unlike the measured ones.

    ``variance = floor + |weight x inputs + bias|^2``: the largest directions of the covariance of a linear model's
    coefficients; the others, and what no model would explain, in the mean.

    Args:
        weight: shape (directions, inputs).
        bias: shape (directions,).
        floor: variance of every subnet, above 0.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    floor: float

    def __post_init__(self) -> None:
        sound = self.weight.ndim == 2 and self.bias.shape == self.weight.shape[:1]
        finite = sound and np.isfinite(self.weight).all() and np.isfinite(self.bias).all()
        if not (finite and np.isfinite(self.floor) and self.floor > 0):
            raise InputError("a damaged accuracy predictor: its spread is none")

    def __call__(self, inputs: NDArray[np.float32]) -> Floats:
        """Standard deviations (n,) of inputs (n, inputs)."""
        found = inputs @ self.weight.T + self.bias
        return np.sqrt(self.floor + (found.astype(np.float64) ** 2).sum(1))
