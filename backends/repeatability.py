"""How well this machine repeats itself: the same work over and over for a few seconds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.timing import SENTINEL_INNER_S, Case, Clock, TimingSettings, host_sentinel

WINDOWS = 10
SPREAD_LIMIT = TimingSettings().drift_limit / 2
DRIFT_LIMIT = TimingSettings().drift_limit
"""As fractions. A timing loop does a round again when its sentinel drifted this far; where a bare sentinel does
so by itself, many rounds will be."""


@dataclass(frozen=True)
class Repeatability:
    """What :func:`observe` saw.

    Args:
        readings_ms: time of the same work, in order, shape (readings,).
    """

    readings_ms: NDArray[np.float64]

    @property
    def spread(self) -> float:
        """Interquartile range of the readings over their median."""
        low, middle, high = np.percentile(self.readings_ms, (25, 50, 75))
        return float((high - low) / middle)

    @property
    def drift(self) -> float:
        """How far the median of any tenth of the time is from that of all, as a fraction."""
        parts = [np.median(part) for part in np.array_split(self.readings_ms, WINDOWS)]
        return float(np.abs(np.array(parts) / np.median(self.readings_ms) - 1).max())

    @property
    def steady(self) -> bool:
        """Whether it is fit to measure on."""
        return self.spread <= SPREAD_LIMIT and self.drift <= DRIFT_LIMIT


def observe(seconds: float, case: Case | None = None, clock: Clock = time.perf_counter) -> Repeatability:
    """Time the same work for so many seconds.

    Args:
        seconds: how long.
        case: the work; that of the timing loop's sentinel unless given.
        clock: in seconds.
    """
    case = case or host_sentinel(clock)
    case(1)  # the first call is cold
    repeats = max(1, math.ceil(SENTINEL_INNER_S / max(case(10) / 10, 1e-9)))
    readings: list[float] = []
    end = clock() + seconds
    while clock() < end or len(readings) < WINDOWS:
        readings.append(1e3 * case(repeats) / repeats)
    return Repeatability(np.array(readings))
