"""What pairing makes of this machine: the same work over and over, by itself and beside other work."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.machine.clocks import Case, host_clocks
from backends.measuring.pairing import Pacer
from backends.measuring.timing import TimingSettings, time_beside

PARTS = 10
SPREAD_LIMIT = 0.02
"""Of ratios, as a fraction. Beyond, latencies that differ by a few per cent cannot be told apart."""


@dataclass(frozen=True)
class Steadiness:
    """What :func:`observe` saw of the same work.

    Args:
        lone_ms: its wall time, each reading by itself, in order; shape (readings,).
        ratios: its time over that of other work beside it, each from a tenth of the time; shape (:data:`PARTS`,).
        left_out: share of the runs that others disturbed.
    """

    lone_ms: NDArray[np.float64]
    ratios: NDArray[np.float64]
    left_out: float

    @property
    def lone_spread(self) -> float:
        """How far apart two lone readings are: the interquartile range over the median."""
        low, middle, high = np.percentile(self.lone_ms, (25, 50, 75))
        return float((high - low) / middle)

    @property
    def lone_drift(self) -> float:
        """How far the median of any tenth of the time is from that of all, as a fraction."""
        return _farthest(np.array([np.median(part) for part in np.array_split(self.lone_ms, PARTS)]))

    @property
    def ratio_drift(self) -> float:
        """The same of the ratios: what is left of it by pairing."""
        return _farthest(self.ratios[np.isfinite(self.ratios)])

    @property
    def steady(self) -> bool:
        """Whether it is fit to measure on."""
        return self.ratio_drift <= SPREAD_LIMIT


def _farthest(values: NDArray[np.float64]) -> float:
    return float(np.abs(values / np.median(values) - 1).max()) if len(values) else math.inf


def arithmetic() -> Case:
    """Arithmetic on one core that fits its first-level cache: its time follows the core's speed only."""
    values = np.linspace(0.0, 1.0, 2048)
    result = np.empty_like(values)
    return host_clocks().case(lambda: np.sin(values, out=result))


def arithmetic_us() -> float:
    """What plain arithmetic on one core takes at its quickest: follows the clock of the core, and nothing else."""
    case = arithmetic()
    return 1e6 * min(case(10).seconds for _ in range(30))


def mixed() -> Case:
    """Arithmetic and memory, as an activation of a network: a product and a comparison, value by value."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((96, 4096)).astype(np.float32)
    result = np.empty_like(values)
    return host_clocks().case(lambda: np.maximum(np.multiply(values, 1.5, out=result), 0.0, out=result))


def observe(seconds: float, case: Case | None = None, reference: Case | None = None) -> Steadiness:
    """Time the same work for so many seconds, half of them alone, half beside a reference.

    Args:
        seconds: how long, in time of the work.
        case: the work; of our own unless given.
        reference: other work, likewise.
    """
    case, pacer = case or mixed(), Pacer(reference or arithmetic(), runs=4, inner_ms=0.1)
    each_s = max(min(case(1).seconds for _ in range(10)), 1e-7)
    repeats = max(1, math.ceil(1e-3 / each_s))
    lone = []
    for _ in range(max(PARTS, math.ceil(seconds / 2 / (repeats * each_s)))):
        start = time.perf_counter()
        case(repeats)
        lone.append(1e3 * (time.perf_counter() - start) / repeats)
    settings = TimingSettings(rounds=PARTS, inner_ms=0.2, round_ms=1e3 * seconds / 2 / PARTS, spacing_ms=1.0)
    paired = time_beside(pacer, [case], settings).paired
    return Steadiness(np.array(lone), paired.ratios[0], float(paired.left_out[0]))
