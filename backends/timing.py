"""The timing loop of every timed backend.

Cases are warmed up, then visited in a new random order each round, so that drift hits all alike. A
sentinel, always the same work, is timed between rounds; rounds in which it drifted are done again. All
cases are timed in each round, so differences between cases may be taken round by round, where drift
cancels. Compare google/benchmark's random interleaving and trtexec's warm-up.

Within a round a case is either run over and over in one inner loop, as a network in use is, or in rotation
with others (`TimingSettings.rotation`): then each run finds the caches as a network of so many steps leaves
them, not warm from the run before, which is how a block runs inside a network.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.base import Measurement
from compofa.errors import InputError

Case = Callable[[int], float]
"""Does its work the given number of times and returns the seconds that took, by whichever clock is right
for the device."""
Clock = Callable[[], float]
"""Seconds since any fixed moment."""

SENTINEL_INNER_S = 1e-3
MAX_REPEATS = 1_000_000
"""Where an inner loop stops growing, should a clock stand still."""


@dataclass(frozen=True)
class TimingSettings:
    """How long and how carefully to time.

    Args:
        rounds: accepted rounds; each gives one time per case.
        max_rounds: rounds to try before drift is put up with and everything marked noisy.
        inner_ms: least duration of one inner loop, on top of what `max_overhead` asks.
        max_overhead: most that reading the clock may add to an inner loop, as a fraction.
        rotation: about how many cases take turns, chosen anew each round; None for all.
        round_ms: a rotation goes on until its cases had this much each on average, at least one turn; a
            round's time is the median over the turns.
        max_warmup_ms: when to stop waiting for a case to become steady.
        steady_limit: a case is warm once two inner loops in a row differ by less than this fraction.
        drift_limit: a round is done again when the sentinel before or after it is further than this
            fraction from its median.
        noise_limit: a measurement is noisy when its interquartile range exceeds this fraction of its median.
        resamples: of the bootstrap.
    """

    rounds: int = 9
    max_rounds: int = 18
    inner_ms: float = 3.0
    max_overhead: float = 0.01
    rotation: int | None = None
    round_ms: float = 0.0
    max_warmup_ms: float = 30.0
    steady_limit: float = 0.05
    drift_limit: float = 0.10
    noise_limit: float = 0.10
    resamples: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= self.max_rounds:
            raise InputError(f"rounds must be 1 to max_rounds, not {self.rounds} of {self.max_rounds}")
        if self.rotation is not None and self.rotation < 1:
            raise InputError(f"a rotation needs at least one case, not {self.rotation}")


@dataclass(frozen=True)
class Timing:
    """What :func:`time_interleaved` found.

    Args:
        rounds_ms: time of each case in each accepted round, shape (cases, rounds).
        steady: false if drift had to be put up with.
        timing_s: seconds the loop took, warm-up and discarded rounds included: whatever a caller's wall
            time exceeds it by is overhead.
        discarded: rounds done again.
    """

    rounds_ms: NDArray[np.float64]
    steady: bool
    timing_s: float
    discarded: int


def host_timed(run: Callable[[], object], clock: Clock = time.perf_counter) -> Case:
    """A case that calls `run`, timed by the host; `run` returns once its work is done."""

    def case(repeats: int) -> float:
        loop = range(repeats)
        start = clock()
        for _ in loop:
            run()
        return clock() - start

    return case


def host_sentinel(clock: Clock = time.perf_counter) -> Case:
    """Arithmetic on one core that fits its first-level cache: its time follows the core's speed only."""
    values = np.linspace(0.0, 1.0, 2048)
    result = np.empty_like(values)
    return host_timed(lambda: np.sin(values, out=result), clock)


def timer_overhead_s(clock: Clock = time.perf_counter) -> float:
    """Least time between two readings of `clock`, or its resolution where that is longer."""
    gaps = [after - before for before, after in ((clock(), clock()) for _ in range(100))]
    return min((gap for gap in gaps if gap > 0), default=0.0)


class Sentinel:
    """Work that is always the same, timed between rounds to see whether the device's speed drifts.

    Keep one for as long as timings are to be compared: it remembers its readings, so that cases timed
    minutes apart are all timed at the device's usual speed, not each batch at the speed of its moment.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.readings_s: list[float] = []

    def drift(self, latest: int) -> NDArray[np.float64]:
        """How far each of the `latest` readings was from the median of all, as a fraction."""
        readings = np.array(self.readings_s)
        return np.abs(readings[-latest:] / np.median(readings) - 1)


def time_interleaved(
    cases: Sequence[Case],
    settings: TimingSettings = TimingSettings(),
    *,
    sentinel: Sentinel | None = None,
    clock: Clock = time.perf_counter,
    seed: int = 0,
    groups: Sequence[Sequence[int]] | None = None,
) -> Timing:
    """Time all `cases`, interleaved.

    Args:
        cases: what to time.
        settings: how.
        groups: indices of cases that take turns with each other, each case once; chosen anew each round, of
            `settings.rotation` cases, unless given. Cases whose times are to be subtracted belong together: turns
            are milliseconds apart, and whatever else the machine does hits both.
        sentinel: on the same device; a new one on the host unless given.
        clock: the clock that the cases read, for the overhead of reading it.
        seed: of the order of visits.
    """
    start = clock()
    sentinel = sentinel or Sentinel(host_sentinel(clock))
    inner_s = max(settings.inner_ms / 1e3, timer_overhead_s(clock) / settings.max_overhead)
    # The sentinel's inner loop is never short: one slow run of it must not cost a round.
    watch = _warm_up(sentinel.case, max(inner_s, SENTINEL_INNER_S), settings)
    warm = [_warm_up(case, inner_s, settings) for case in cases]
    rng = np.random.default_rng(seed)

    rounds: list[NDArray[np.float64]] = []
    sentinel.readings_s.append(watch.best())
    drift = np.zeros(0)
    while (drift <= settings.drift_limit).sum() < settings.rounds and len(rounds) < settings.max_rounds:
        rounds.append(_one_round(warm, settings, rng, groups))
        sentinel.readings_s.append(watch.best())
        around = sentinel.drift(len(rounds) + 1)
        drift = np.maximum(around[:-1], around[1:])

    kept = np.sort(np.argsort(drift, kind="stable")[: settings.rounds])
    return Timing(
        rounds_ms=np.array(rounds)[kept].T * 1e3,
        steady=bool((drift[kept] <= settings.drift_limit).all()),
        timing_s=clock() - start,
        discarded=len(rounds) - len(kept),
    )


def _one_round(
    warm: Sequence[_WarmCase],
    settings: TimingSettings,
    rng: np.random.Generator,
    groups: Sequence[Sequence[int]] | None,
) -> NDArray[np.float64]:
    """Seconds for each case, shape (cases,)."""
    times = np.empty(len(warm))
    for group in _drawn(len(warm), settings, rng) if groups is None else _shuffled(groups, rng):
        turn_s = sum(warm[i].repeats * warm[i].each_s for i in group)
        turns = max(1, math.ceil(settings.round_ms / 1e3 * len(group) / turn_s)) if turn_s > 0 else 1
        seconds = np.empty((turns, len(group)))
        for turn in seconds:
            for place in rng.permutation(len(group)).tolist():
                turn[place] = warm[group[place]].once()
        times[group] = np.median(seconds, axis=0)
    return times


def _drawn(cases: int, settings: TimingSettings, rng: np.random.Generator) -> Iterable[NDArray[np.intp]]:
    # Of equal size, lest the few left over run warm while the others run cold.
    groups = max(1, round(cases / settings.rotation)) if settings.rotation else 1
    return np.array_split(rng.permutation(cases), groups)


def _shuffled(groups: Sequence[Sequence[int]], rng: np.random.Generator) -> Iterable[NDArray[np.intp]]:
    return (np.array(groups[i], dtype=np.intp) for i in rng.permutation(len(groups)))


def summarise(
    rounds_ms: NDArray[np.float64],
    settings: TimingSettings = TimingSettings(),
    *,
    steady: bool = True,
    seed: int = 0,
) -> list[Measurement]:
    """Median, bootstrap interval and noise verdict of each case.

    Args:
        rounds_ms: times, or differences of times, shape (cases, rounds).
        settings: for the noise limit and the number of resamples.
        steady: false marks every case noisy.
        seed: of the bootstrap.
    """
    cases, rounds = rounds_ms.shape
    if cases == 0:
        return []
    picks = np.random.default_rng(seed).integers(rounds, size=(settings.resamples, rounds))
    low, high = np.percentile(np.median(rounds_ms[:, picks], axis=2), (2.5, 97.5), axis=1)
    median = np.median(rounds_ms, axis=1)
    quartile1, quartile3 = np.percentile(rounds_ms, (25, 75), axis=1)
    noisy = quartile3 - quartile1 > settings.noise_limit * np.abs(median)
    return [
        Measurement(
            origin="measured",
            latency_ms=float(median[i]),
            low_ms=float(low[i]),
            high_ms=float(high[i]),
            rounds_ms=tuple(rounds_ms[i].tolist()),
            noisy=bool(noisy[i]) or not steady,
        )
        for i in range(cases)
    ]


@dataclass
class _WarmCase:
    """A case whose time is steady, with the length of its inner loop and its time for doing the work once."""

    case: Case
    repeats: int
    each_s: float

    def once(self) -> float:
        """Seconds for doing the work once: the mean over an inner loop."""
        return self.case(self.repeats) / self.repeats

    def best(self) -> float:
        """The best of three, for the sentinel: what interrupted one of them says nothing of the round."""
        return min(self.once() for _ in range(3))


def _warm_up(case: Case, inner_s: float, settings: TimingSettings) -> _WarmCase:
    """Grow the inner loop until it lasts `inner_s`, then go on until its time is steady."""
    repeats, spent_s, previous_s = 1, 0.0, math.inf
    while True:
        seconds = case(repeats)
        spent_s += seconds
        each_s = seconds / repeats
        enough = math.ceil(1.05 * inner_s / each_s) if each_s > 0 else 10 * repeats
        if seconds < inner_s and repeats < MAX_REPEATS:
            # A first call is slow and says little, so grow by no more than ten at once.
            repeats = min(10 * repeats, max(enough, repeats + 1), MAX_REPEATS)
        elif (
            abs(each_s - previous_s) < settings.steady_limit * each_s
            or spent_s * 1e3 > settings.max_warmup_ms
        ):
            return _WarmCase(case, max(1, min(enough, MAX_REPEATS)), each_s)
        previous_s = each_s
