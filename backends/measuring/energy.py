"""Millijoules of a run, by a counter that moves in steps.

The work runs without a pause while the counter is looked at over and over: to read NVML's takes milliseconds, and a
device that waited meanwhile would be charged for the waiting. So the next piece of work is begun before the last one
is done. What counts is the power between the first step of the counter and the last, times what a run took.

A block's energy is found as its latency is (:mod:`backends.measuring.differencing`): by the difference of two
networks, which take turns. So sums of blocks are to be compared with whole networks, as those of latencies are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from backends.device import Begin, Pending
from backends.machine.clocks import Clock
from backends.machine.energy_counters import Counter
from compofa.errors import RunFailed

T = TypeVar("T")

PIECE_S = 0.02
"""Of work that is begun at once: several readings of a slow counter."""
AHEAD = 2
"""Pieces begun at a time, so that the device is never without work."""
LEAST_S, MOST_S = 0.6, 3.0
"""Of a loop: several steps of the usual counters, and as long as one that moves seldom is waited for."""
LEAST_STEPS = 4
"""Fewer tell no energy."""
ROUNDS = 2
"""Forth and back, so that a drift hits all cases alike."""
SMALLEST_MJ = 1e-6
"""What a block uses at least, where its energy is lost in the noise of its pair."""

Details = tuple[tuple[str, float | str], ...]


@dataclass(frozen=True)
class Energy:
    """Of one run.

    Args:
        mj: millijoules.
        ms: milliseconds, in the same loop.
        steps: of the counter that it rests on.
    """

    mj: float
    ms: float
    steps: int = 0


def energy_of(
    begin: Begin,
    counter: Counter,
    *,
    least_s: float = LEAST_S,
    clock: Clock = time.perf_counter,
) -> Energy:
    """The energy of one run, from a loop of `least_s` seconds, or as much longer, up to :data:`MOST_S`, as the
    counter's steps ask for.

    Args:
        begin: the work.
        counter: of the device that does it.
        least_s: how long.
        clock: seconds, of the world.

    Raises:
        RunFailed: the counter hardly moved.
    """
    repeats = _piece(begin, clock)
    looks: list[tuple[float, float]] = []  # when the counter had moved, and to how many millijoules
    pieces, last_mj, began = 0, counter.read_mj(), clock()
    under_way: deque[Pending] = deque()
    while clock() - began < (least_s if len(looks) > LEAST_STEPS else MOST_S):
        while len(under_way) < AHEAD:
            under_way.append(begin(repeats))
            pieces += 1
        mj = counter.read_mj()
        if mj != last_mj:
            looks.append((clock(), mj))
            last_mj = mj
        if under_way[0].done():
            under_way.popleft()
    for piece in under_way:
        piece.wait()
    run_s = (clock() - began) / (pieces * repeats)
    steps = len(looks) - 1
    if steps < LEAST_STEPS:
        raise RunFailed(
            f"the energy counter moved {len(looks)} times in {MOST_S:g} s: too few to tell an energy; measure without "
            "--energy"
        )
    (first_s, first_mj), (last_s, end_mj) = looks[0], looks[-1]
    return Energy((end_mj - first_mj) / (last_s - first_s) * run_s, 1e3 * run_s, steps)


def _piece(begin: Begin, clock: Clock) -> int:
    """Runs that together take about :data:`PIECE_S`; the device has warmed up by then."""
    repeats = 1
    while True:
        start_s = clock()
        begin(repeats).wait()
        took_s = max(clock() - start_s, 1e-9)
        if took_s >= PIECE_S / 4:
            return max(1, round(repeats * PIECE_S / took_s))
        repeats *= 4


def in_turns(cases: Sequence[T], measure: Callable[[T], Energy], rounds: int = ROUNDS) -> list[list[Energy]]:
    """What `measure` says of each case in each round, by case; the order is turned round from round to round."""
    found: list[list[Energy]] = [[] for _ in cases]
    for turn in range(rounds):
        order = range(len(cases)) if turn % 2 == 0 else range(len(cases) - 1, -1, -1)
        for index in order:
            found[index].append(measure(cases[index]))
    return found


def difference(longer: Sequence[Energy], shorter: Sequence[Energy], copies: int) -> list[Energy]:
    """Of a block, in each round: what a network with `copies` more of it uses more, over `copies`."""
    return [
        Energy(
            max((more.mj - less.mj) / copies, SMALLEST_MJ),
            max((more.ms - less.ms) / copies, 0.0),
            min(more.steps, less.steps),
        )
        for more, less in zip(longer, shorter, strict=True)
    ]


def details(rounds: Sequence[Energy]) -> Details:
    """As a measurement keeps them: the mean of the rounds and the least and the most of them in millijoules a run
    (of the whole batch), and the milliseconds that a run took meanwhile."""
    mj = [energy.mj for energy in rounds]
    return (
        ("energy_mj", float(np.mean(mj))),
        ("energy_low_mj", min(mj)),
        ("energy_high_mj", max(mj)),
        ("energy_ms", float(np.mean([energy.ms for energy in rounds]))),
    )
