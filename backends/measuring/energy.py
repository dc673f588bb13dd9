"""Millijoules of a run, by a counter that moves in steps.

A case runs in a loop that is cut into short pieces with a look at the counter after each, and what counts are the runs
and the energy between the first step and the last. What the device uses while it only waits is in it, too, in
proportion to the time: somebody pays for it.

A block's energy is found as its latency is (:mod:`backends.measuring.differencing`): by the difference of two
networks, which take turns. So sums of blocks are to be compared with whole networks, as those of latencies are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from backends.machine.clocks import Case, Clock
from backends.machine.energy_counters import Counter
from compofa.errors import RunFailed

PIECE_S = 0.004
"""Between two looks at the counter: a hundredth of a loop, so that its ends are known to a percent."""
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


Measure = Callable[[Case], Energy]


def energy_of(
    case: Case,
    counter: Counter,
    *,
    least_s: float = LEAST_S,
    most_s: float = MOST_S,
    clock: Clock = time.perf_counter,
) -> Energy:
    """The energy of one run of `case`, from a loop of `least_s` seconds, or as much longer, up to `most_s`, as the
    counter's steps ask for.

    Raises:
        RunFailed: the counter hardly moved.
    """
    once_s = max(case(1).seconds, 1e-9)
    repeats = max(1, round(PIECE_S / once_s))
    looks: list[tuple[float, int, float]] = []  # when, runs so far, millijoules: where the counter had moved
    last_mj, runs, began = counter.read_mj(), 0, clock()
    while (now := clock()) - began < (least_s if len(looks) > LEAST_STEPS else most_s):
        case(repeats)
        runs += repeats
        mj = counter.read_mj()
        if mj != last_mj:
            looks.append((now, runs, mj))
            last_mj = mj
    steps = len(looks) - 1
    if steps < LEAST_STEPS:
        raise RunFailed(
            f"the energy counter moved {len(looks)} times in {most_s:g} s: too few to tell an energy; measure without "
            "--energy"
        )
    (first_s, first_runs, first_mj), (last_s, last_runs, end_mj) = looks[0], looks[-1]
    done = last_runs - first_runs
    return Energy((end_mj - first_mj) / done, 1e3 * (last_s - first_s) / done, steps)


def in_turns(cases: Sequence[Case], measure: Measure, rounds: int = ROUNDS) -> list[list[Energy]]:
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
