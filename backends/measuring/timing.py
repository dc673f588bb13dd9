"""The timing loop of every timed backend.

Cases are warmed up, then visited in a new random order each round, so that drift hits all alike. Compare
google/benchmark's random interleaving and trtexec's warm-up. Between runs the reference is read, as often as pays:
:mod:`backends.measuring.pairing` makes ratios of it. All cases are timed in each round, so differences between cases
may be taken round by round.

Within a round cases take turns in rotations (`TimingSettings.rotation`): then each run finds the caches as a network
of so many steps leaves them, not warm from the run before, which is how a block runs inside a network. In a rotation
of one a case is run over and over, as a network in use is.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.machine.clocks import Case, Clock
from backends.measuring.pairing import Log, Pacer, Paired, Timed
from compofa.errors import InputError

MAX_REPEATS = 1_000_000
"""Where an inner loop stops growing, should a clock stand still."""
LEAST_SPACING = 2.5
"""Work between two readings of the reference, in the time that one takes: a slow reference must not take over."""


@dataclass(frozen=True)
class TimingSettings:
    """How long and how carefully to time.

    Args:
        rounds: each gives one ratio per case.
        inner_ms: least duration of one inner loop, for clocks that tick coarsely.
        rotation: about how many cases take turns, chosen anew each round; None for all.
        round_ms: a rotation goes on until its cases had this much each on average, at least one turn.
        spacing_ms: work between two readings of the reference, unless one run takes longer.
        max_warmup_ms: when to stop waiting for a case to become steady.
        steady_limit: a case is warm once two inner loops in a row differ by less than this fraction.
        noise_limit: a measurement is noisy when half its interval exceeds this fraction of it.
        resamples: of the bootstrap.
    """

    rounds: int = 11
    inner_ms: float = 0.0
    rotation: int | None = None
    round_ms: float = 0.0
    spacing_ms: float = 4.0
    max_warmup_ms: float = 30.0
    steady_limit: float = 0.05
    noise_limit: float = 0.10
    resamples: int = 400

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"there must be at least one round, not {self.rounds}")
        if self.rotation is not None and self.rotation < 1:
            raise InputError(f"a rotation needs at least one case, not {self.rotation}")


@dataclass(frozen=True)
class Timing:
    """What :func:`time_beside` found.

    Args:
        paired: what the cases took, in runs of the reference.
        timing_s: seconds the loop took, warm-up included: whatever a caller's wall time exceeds it by is overhead.
    """

    paired: Paired
    timing_s: float

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Shape (cases, rounds)."""
        return self.paired.ratios


def time_beside(
    pacer: Pacer,
    cases: Sequence[Case],
    settings: TimingSettings = TimingSettings(),
    *,
    clock: Clock = time.perf_counter,
    seed: int = 0,
    groups: Sequence[Sequence[int]] | None = None,
) -> Timing:
    """Time all `cases`, interleaved with each other and with the reference.

    Args:
        pacer: the reference, on the same device.
        cases: what to time.
        settings: how.
        groups: indices of cases that take turns with each other, each case once; chosen anew each round, of
            `settings.rotation` cases, unless given. Cases whose times are to be subtracted belong together.
        clock: by which the loop's own time is taken.
        seed: of the order of visits.
    """
    start = clock()
    with _no_garbage_collection():
        warm = [_warm_up(case, settings) for case in cases]
        pacer.read()
        loop = _Loop(Log(pacer), warm, settings)
        rng = np.random.default_rng(seed)
        for round_ in range(settings.rounds):
            drawn = _drawn(len(warm), settings, rng) if groups is None else _shuffled(groups, rng)
            for group in drawn:
                loop.rotate(group, round_, rng)
        pacer.read()
    return Timing(loop.log.paired(len(cases), settings.rounds), clock() - start)


class _Loop:
    """The runs of warm cases beside the reference."""

    def __init__(self, log: Log, warm: Sequence[_WarmCase], settings: TimingSettings) -> None:
        self.log, self.warm, self.settings = log, warm, settings
        self._spacing_s = max(settings.spacing_ms / 1e3, LEAST_SPACING * log.pacer.reading_s)
        self._since_s = 0.0

    def rotate(self, group: Sequence[int] | NDArray[np.intp], round_: int, rng: np.random.Generator) -> None:
        """Turns of the cases in `group` for as long as a round asks for."""
        turn_s = sum(self.warm[i].repeats * self.warm[i].each_s for i in group)
        turns = max(1, math.ceil(self.settings.round_ms / 1e3 * len(group) / turn_s)) if turn_s > 0 else 1
        for _ in range(turns):
            for place in rng.permutation(len(group)).tolist():
                self._visit(int(group[place]), round_)

    def _visit(self, index: int, round_: int) -> None:
        warm, pacer = self.warm[index], self.log.pacer
        if self._since_s >= self._spacing_s:
            pacer.read()
            self._since_s = 0.0
        reading = warm.case(warm.repeats)
        self._since_s += max(reading.seconds, warm.each_s) * warm.repeats
        before = len(pacer.readings_s) - 1
        self.log.runs.append(Timed(index, round_, reading.seconds, reading.clean, before))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _drawn(cases: int, settings: TimingSettings, rng: np.random.Generator) -> Iterable[NDArray[np.intp]]:
    # Of equal size, lest the few left over run warm while the others run cold.
    groups = max(1, round(cases / settings.rotation)) if settings.rotation else 1
    return np.array_split(rng.permutation(cases), groups)


def _shuffled(groups: Sequence[Sequence[int]], rng: np.random.Generator) -> Iterable[NDArray[np.intp]]:
    return (np.array(groups[i], dtype=np.intp) for i in rng.permutation(len(groups)))


@dataclass
class _WarmCase:
    """A case whose time is steady, with the length of its inner loop and its time for doing the work once."""

    case: Case
    repeats: int
    each_s: float


def _warm_up(case: Case, settings: TimingSettings) -> _WarmCase:
    """Grow the inner loop until it lasts as long as it should, then go on until its time is steady."""
    inner_s = settings.inner_ms / 1e3
    repeats, spent_s, previous_s = 1, 0.0, math.inf
    while True:
        each_s = case(repeats).seconds
        seconds = each_s * repeats
        spent_s += seconds
        enough = math.ceil(1.05 * inner_s / each_s) if each_s > 0 else 10 * repeats
        if seconds < inner_s and repeats < MAX_REPEATS:
            # A first call is slow and says little, so grow by no more than ten at once.
            repeats = min(10 * repeats, max(enough, repeats + 1), MAX_REPEATS)
        elif (
            abs(each_s - previous_s) <= settings.steady_limit * each_s
            or spent_s * 1e3 > settings.max_warmup_ms
        ):
            return _WarmCase(case, max(1, min(enough, MAX_REPEATS)), each_s)
        previous_s = each_s
