"""The reference beside the cases: what a run is held against, and the ratio that comes of it.

The reference is read every few milliseconds between runs. A run's ratio is its time over what the reference took
around it, so whatever slows both alike cancels. A single reading is itself 1 to 3 % uncertain, and a machine changes
its pace for stretches much longer than a few milliseconds: so a run is held against the median of the readings nearest
to it on both sides, about a tenth of a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.machine.clocks import Case

Floats = NDArray[np.float64]

WINDOW = 8
"""Readings before a run, and as many after it, that it is held against. One alone adds its own noise to each ratio
(networks of glyphs then repeat to 2.3 % where they do to 0.5 %); hundreds would no longer follow the machine."""


class Pacer:
    """A reference on one device, ready to run.

    Args:
        case: the reference.
        runs: in one reading. Of several the first does not count, so that a reference that fits the nearest caches
            means the same whatever ran before; the median of the others does.
        inner_ms: least duration of one run, for clocks that tick coarsely: it is made up of repeats.

    Attributes:
        readings_s: what one run took, by all readings so far.
        reading_s: about what it takes to take one.
    """

    def __init__(self, case: Case, runs: int = 1, inner_ms: float = 0.0) -> None:
        self.case, self.runs = case, runs
        self.readings_s: list[float] = []
        each_s = max(min(case(1).seconds for _ in range(4)), 1e-9)
        self.repeats = max(1, math.ceil(inner_ms / 1e3 / each_s))
        self.reading_s = runs * self.repeats * each_s

    def read(self) -> float:
        """Take a reading: seconds of one run. Where all runs of it were disturbed, the least of them."""
        runs = [self.case(self.repeats) for _ in range(self.runs)]
        counting = runs[1:] or runs
        clean = sorted(run.seconds for run in counting if run.clean)
        found = clean[len(clean) // 2] if clean else min(run.seconds for run in counting)
        self.readings_s.append(found)
        return found


class Timed(NamedTuple):
    """One run of a case: in which round, its time, and the index of the reading before it."""

    case: int
    round: int
    seconds: float
    clean: bool
    before: int


@dataclass(frozen=True)
class Paired:
    """What cases took, in runs of the reference.

    Args:
        ratios: the median of each case's runs in each round, shape (cases, rounds); NaN where no run of it counted.
        left_out: share of each case's runs that did not count because they were disturbed, shape (cases,).
        forced: cases of which so few runs were clean that all counted, shape (cases,).
        pace: what a reading of the reference took, over its least; 1 on a machine that has nothing else to do.
    """

    ratios: Floats
    left_out: Floats
    forced: NDArray[np.bool_]
    pace: float


LEAST_ROUNDS = 3
"""With clean runs in fewer rounds than these, the disturbed runs of a case count, too: in processor time they are
a few per cent off, and on a crowded machine nothing that takes long is ever left in peace."""


@dataclass
class Log:
    """All runs of some cases beside a reference, in the order of time."""

    pacer: Pacer
    runs: list[Timed] = field(default_factory=list)

    def paired(self, cases: int, rounds: int) -> Paired:
        """Each run held against the reference at its moment."""
        case, round_, seconds, clean, before = (np.array(column) for column in zip(*self.runs, strict=True))
        beside = self._beside(before)
        usable = np.isfinite(beside) & (seconds > 0)
        ratio = np.divide(seconds, beside, out=np.full(len(seconds), math.nan), where=usable)
        kept = clean & usable
        found = _medians(case, round_, np.where(kept, ratio, math.nan), (cases, rounds))
        forced = np.isfinite(found).sum(axis=1) < min(LEAST_ROUNDS, rounds)
        if forced.any():
            found[forced] = _medians(case, round_, ratio, (cases, rounds))[forced]
        runs = np.maximum(np.bincount(case, minlength=cases), 1)
        left_out = 1 - np.bincount(case, weights=kept, minlength=cases) / runs
        return Paired(found, left_out, forced, self._pace(before))

    def _beside(self, before: NDArray[np.intp]) -> Floats:
        """What the reference took around each run: the median of the readings nearest to it, half of them before and
        half after."""
        first = int(before.min())
        readings = np.array(self.pacer.readings_s[first:])
        padded = np.pad(readings, (WINDOW - 1, WINDOW), constant_values=math.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * WINDOW)
        around: Floats = np.nanmedian(windows, axis=1)
        return around[before - first]

    def _pace(self, before: NDArray[np.intp]) -> float:
        readings = np.array(self.pacer.readings_s[int(before.min()) :])
        return float(np.median(readings) / max(readings.min(), 1e-12))


def _medians(
    case: NDArray[np.intp], round_: NDArray[np.intp], ratio: Floats, shape: tuple[int, int]
) -> Floats:
    """The median of the finite ratios of each case in each round; NaN where there is none."""
    found = np.full(shape, math.nan)
    place = np.where(np.isfinite(ratio), case * shape[1] + round_, -1)
    order = np.argsort(place, kind="stable")
    for some in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
        if len(some) and place[some[0]] >= 0:
            found.flat[place[some[0]]] = np.median(ratio[some])
    return found
