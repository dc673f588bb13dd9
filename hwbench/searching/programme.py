"""The whole accuracy-latency frontier of two additive functions, by dynamic programming over units.

A subnet on the frontier has in each unit a choice that no other choice of that unit beats in both, and so has
every run of units from the first one on: all others can be dropped on the way. The frontier of all subnets of
a resolution thus comes from a few merges of short lists, though there are more subnets than atoms in a grain
of sand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbench.searching.additive import Additive
from hwbench.searching.problem import Floats, Problem

EPSILON = 1e-5
"""Accuracy below which two partial subnets count as alike (the faster one is kept): 0.001 points."""


@dataclass(frozen=True)
class Front:
    """Choices for the first units, none beaten in both latency and accuracy, by rising latency.

    Args:
        latency: shape (n,).
        accuracy: shape (n,).
        choice: row of each unit's ways, shape (n, units).
    """

    latency: Floats
    accuracy: Floats
    choice: NDArray[np.intp]

    def take(self, index: NDArray[np.intp]) -> Front:
        """The subnets at `index`."""
        return Front(self.latency[index], self.accuracy[index], self.choice[index])


def nondominated(latency: Floats, accuracy: Floats) -> NDArray[np.intp]:
    """Indices of the points that none other beats in one without losing in the other, by rising latency; one
    of several equal points."""
    order = np.argsort(latency)
    best = np.maximum.accumulate(accuracy[order])
    first = np.flatnonzero(np.concatenate([[True], accuracy[order][1:] > best[:-1]]))
    index = order[first]
    # Among points of one latency all that rose were kept: only the last of them is not beaten.
    last = np.append(latency[index][1:] > latency[index][:-1], True)
    return index[last]


def unit_front(problem: Problem, latency: Additive, accuracy: Additive, resolution: int, unit: int) -> Front:
    """The choices of one unit that can run and that none beats."""
    ms, gain = (function.of_unit(resolution, problem.places[unit]) for function in (latency, accuracy))
    index = nondominated(ms, gain)
    index = index[np.isfinite(ms[index])]
    return Front(ms[index], gain[index], index[:, None])


def merge(front: Front, other: Front) -> Front:
    """The frontier of all sums of the two."""
    latency = (front.latency[:, None] + other.latency).ravel()
    accuracy = (front.accuracy[:, None] + other.accuracy).ravel()
    index = nondominated(latency, accuracy)
    one, two = np.divmod(index, len(other.latency))
    return Front(latency[index], accuracy[index], np.hstack([front.choice[one], other.choice[two]]))


def thin(front: Front, epsilon: float) -> Front:
    """The front without points that are less than `epsilon` above a faster one that stays."""
    if epsilon <= 0 or len(front.latency) < 2:
        return front
    step = np.floor((front.accuracy - front.accuracy[0]) / epsilon)
    return front.take(np.flatnonzero(np.diff(step, prepend=-1.0) > 0))


def solve(
    problem: Problem, latency: Additive, accuracy: Additive, resolution: int, epsilon: float = EPSILON
) -> Front:
    """The frontier of all subnets at one resolution, by its index, at which some subnet can run.

    For each subnet there is one in the answer that is as fast and at most ``(units - 1) * epsilon`` less accurate;
    with `epsilon` 0 the answer is exact.
    """
    fronts = [unit_front(problem, latency, accuracy, resolution, unit) for unit in range(len(problem.units))]
    found = fronts[0]
    for front in fronts[1:]:
        found = merge(thin(found, epsilon), front)
    return Front(
        found.latency + latency.fixed[resolution], found.accuracy + accuracy.fixed[resolution], found.choice
    )
