"""The whole accuracy-cost frontier of two additive functions, by dynamic programming over slots and units.

A subnet on the frontier has in each slot, and in each run of slots from the first one on, a choice that no other choice
there beats in both: all others can be dropped on the way. The frontier of all subnets of a resolution thus comes from a
few merges of short lists, though there are more subnets than atoms in a grain of sand. Where units have several widths,
a block depends on its unit's width and the one before: what is compared with each other then ends in the same width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbench.searching.problem import Floats, Problem
from lut.lookup import Lookup

EPSILON = 1e-5
"""Accuracy below which two partial subnets count as alike (the cheaper one is kept): 0.001 points."""


@dataclass(frozen=True)
class Front:
    """Choices for the first slots, none beaten in both cost and accuracy, by rising cost.

    Args:
        cost: shape (n,).
        accuracy: shape (n,).
        choice: of each slot, shape (n, slots).
        widths: which width each unit of several has, shape (n, units of several widths).
    """

    cost: Floats
    accuracy: Floats
    choice: NDArray[np.int16]
    widths: NDArray[np.int16]

    def take(self, index: NDArray[np.intp]) -> Front:
        """The subnets at `index`."""
        return Front(self.cost[index], self.accuracy[index], self.choice[index], self.widths[index])

    @classmethod
    def of(cls, cost: Floats, accuracy: Floats, choice: NDArray[np.int16]) -> Front:
        """Without widths."""
        return cls(cost, accuracy, choice, np.empty((len(cost), 0), dtype=np.int16))

    @classmethod
    def best(cls, parts: Sequence[Front]) -> Front:
        """The frontier of all in `parts`, which have the same columns."""
        if len(parts) == 1:
            return parts[0]
        every = cls(
            np.concatenate([part.cost for part in parts]),
            np.concatenate([part.accuracy for part in parts]),
            np.concatenate([part.choice for part in parts]),
            np.concatenate([part.widths for part in parts]),
        )
        return every.take(nondominated(every.cost, every.accuracy))


EMPTY = Front.of(np.zeros(1), np.zeros(1), np.empty((1, 0), dtype=np.int16))
"""Nothing chosen yet."""


def nondominated(cost: Floats, accuracy: Floats) -> NDArray[np.intp]:
    """Indices of the points that none other beats in one without losing in the other, by rising cost; one
    of several equal points."""
    if not len(cost):
        return np.empty(0, dtype=np.intp)
    order = np.argsort(cost)
    best = np.maximum.accumulate(accuracy[order])
    first = np.flatnonzero(np.concatenate([[True], accuracy[order][1:] > best[:-1]]))
    index = order[first]
    # Among points of one cost all that rose were kept: only the last of them is not beaten.
    last = np.append(cost[index][1:] > cost[index][:-1], True)
    return index[last]


def unit_front(problem: Problem, cost: Lookup, accuracy: Lookup, context: int, unit: int) -> Front:
    """The ways to fill one unit that can run and that none beats, at one resolution, width and width before."""
    spent, gain = (function.of_unit(context, unit) for function in (cost, accuracy))
    found, begun, before = [], EMPTY, None
    for depth, choices in problem.space.allowed[unit]:
        if before is None or not np.array_equal(choices, before):
            begun = EMPTY
        for slot in range(begun.choice.shape[1], depth):
            index = nondominated(spent[slot, choices], gain[slot, choices])
            index = choices[index[np.isfinite(spent[slot, choices[index]])]]
            begun = merge(begun, Front.of(spent[slot, index], gain[slot, index], index[:, None]))
        before = choices
        found.append(_ended(begun, spent[depth:, 0].sum(), gain[depth:, 0].sum(), len(spent) - depth))
    return Front.best(found)


def _ended(front: Front, cost: float, gain: float, slots: int) -> Front:
    """`front` with so many inactive slots behind it."""
    choice = np.hstack([front.choice, np.zeros((len(front.cost), slots), dtype=np.int16)])
    return Front(front.cost + cost, front.accuracy + gain, choice, front.widths)


def merge(front: Front, other: Front) -> Front:
    """The frontier of all sums of the two."""
    cost = (front.cost[:, None] + other.cost).ravel()
    accuracy = (front.accuracy[:, None] + other.accuracy).ravel()
    index = nondominated(cost, accuracy)
    one, two = np.divmod(index, max(len(other.cost), 1))
    return Front(
        cost[index],
        accuracy[index],
        np.hstack([front.choice[one], other.choice[two]]),
        np.hstack([front.widths[one], other.widths[two]]),
    )


def thin(front: Front, epsilon: float) -> Front:
    """The front without points that are less than `epsilon` above a cheaper one that stays."""
    if epsilon <= 0 or len(front.cost) < 2:
        return front
    step = np.floor((front.accuracy - front.accuracy[0]) / epsilon)
    return front.take(np.flatnonzero(np.diff(step, prepend=-1.0) > 0))


def solve(
    problem: Problem, cost: Lookup, accuracy: Lookup, resolution: int, epsilon: float = EPSILON
) -> Front:
    """The frontier of all subnets at one resolution, by its index, at which some subnet can run.

    For each subnet there is one in the answer that costs no more and at most ``(units - 1) * epsilon`` less accurate;
    with `epsilon` 0 the answer is exact.
    """
    at = problem.space.layout
    found: dict[int, Front] = {0: EMPTY}
    for unit in range(len(at.units)):
        thinned = {before: thin(front, epsilon) for before, front in found.items()} if unit else found
        found = {}
        for width in range(at.width_count(unit)):
            parts = []
            for before, front in thinned.items():
                mine = unit_front(problem, cost, accuracy, at.context(resolution, before, width), unit)
                parts.append(merge(front, mine))
            best = Front.best(parts)
            found[width] = _with_width(best, width) if unit in at.wide_units else best
    best = Front.best(list(found.values()))
    return Front(
        best.cost + cost.fixed[resolution],
        best.accuracy + accuracy.fixed[resolution],
        best.choice,
        best.widths,
    )


def _with_width(front: Front, width: int) -> Front:
    column = np.full((len(front.cost), 1), width, dtype=np.int16)
    return Front(front.cost, front.accuracy, front.choice, np.hstack([front.widths, column]))
