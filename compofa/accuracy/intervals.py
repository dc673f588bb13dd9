"""Intervals of predicted accuracies that hold what they promise, whatever the model: conformal prediction.

Each measured subnet was predicted once by a model that had not seen it, but may have seen what differs from it in one
choice: whoever is like the measured subnets has such neighbours among them, too. The errors of these predictions, as
multiples of what the model itself holds for its standard deviation, say how wide an interval has to be: the CV+ idea of
Barber et al. (Annals of Statistics 49, 2021), normalised as in Lei et al. (JASA 113, 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError

Floats = NDArray[np.float64]
KEPT = 200
"""Quantiles that a file keeps of the errors."""


@dataclass(frozen=True, eq=False)
class Intervals:
    """How many of its standard deviations a prediction is off.

    Args:
        subnets: that this is known of.
        quantiles: of the absolute errors over the standard deviations, ascending, from the least to the largest.
    """

    subnets: int
    quantiles: Floats

    def __post_init__(self) -> None:
        known = self.quantiles
        sound = type(self.subnets) is int and self.subnets > 0 and known.ndim == 1 and len(known) > 0
        if not (sound and np.isfinite(known).all() and known[0] >= 0 and (np.diff(known) >= 0).all()):
            raise InputError("a damaged accuracy predictor: its intervals are none")

    @classmethod
    def of(cls, ratios: Floats) -> Intervals:
        """From the absolute errors of unseen subnets over their standard deviations, shape (n,)."""
        return cls(len(ratios), np.quantile(ratios, np.linspace(0, 1, min(KEPT, len(ratios)))))

    def factor(self, coverage: float) -> float:
        """Standard deviations to either side that hold a share `coverage` of subnets like the measured ones.

        Raises:
            InputError: `coverage` is not between 0 and 1, or so few subnets promise nothing so sure.
        """
        if not 0 < coverage < 1:
            raise InputError(f"a coverage of {coverage:g} is not between 0 and 1")
        rank = math.ceil((self.subnets + 1) * coverage)
        if rank > self.subnets:
            raise InputError(
                f"{self.subnets} measured subnets promise no coverage above {self.subnets / (self.subnets + 1):.3f}"
            )
        place = (rank - 1) / max(self.subnets - 1, 1)
        return float(np.interp(place, np.linspace(0, 1, len(self.quantiles)), self.quantiles))
