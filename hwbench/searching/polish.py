"""Local search with the true predictors, for all constraints at once.

Around an incumbent the accuracy is nearly the sum of what its units' changes do one by one. So each round asks the
predictor for every single change (of a slot, of the resolution), takes the others from sums of these: the most
promising pairs, and the frontier of all combinations by the dynamic programme, and asks again for those that meet
the constraint. A gain in one unit is thereby paid for in another, which single changes cannot do. Bounded, and
the same for the same input.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.spaces.layout import Genotypes
from hwbench.searching.problem import Evaluated, Floats, Problem
from hwbench.searching.programme import EMPTY, Front, merge, nondominated

ROUNDS = 8
PAIRS = 16
"""Pairs of changes tried for each incumbent and round."""
COMBINATIONS = 32
"""Combinations of any number of changes, likewise."""


@dataclass(frozen=True)
class Moves:
    """Single changes of one incumbent.

    Args:
        genotypes: the changed subnets, shape (n, columns).
        unit: the unit that each changes, -1 for the resolution, above the units for a width; shape (n,).
    """

    genotypes: Genotypes
    unit: NDArray[np.intp]


def polish(problem: Problem, starts: Evaluated, limits: Floats) -> tuple[Evaluated, Evaluated]:
    """Improve each start under its own limits, until nothing near it is better, or :data:`ROUNDS` times.

    Args:
        problem: what is searched.
        starts: n subnets, each within its limits.
        limits: shape (n, costs).

    Returns:
        The improved subnets, in the order of `starts`, and everything that was evaluated on the way.
    """
    best, seen = starts.take(np.arange(len(starts))), [starts]
    active = np.arange(len(starts))
    for _ in range(ROUNDS):
        better = _round(problem, best.take(active), limits[active], seen)
        rose = better.accuracy > best.accuracy[active]
        active = active[rose]
        best.genotypes[active], best.costs[active] = better.genotypes[rose], better.costs[rose]
        best.accuracy[active] = better.accuracy[rose]
        if not len(active):
            break
    return best, Evaluated.join(seen)


def _round(problem: Problem, incumbents: Evaluated, limits: Floats, seen: list[Evaluated]) -> Evaluated:
    """The best subnet found near each incumbent, which may be the incumbent itself."""
    each = [incumbents.take(np.array([i])) for i in range(len(incumbents))]
    moves = [neighbours(problem, genotype) for genotype in incumbents.genotypes]
    singles = _evaluate(problem, [move.genotypes for move in moves])
    around = zip(each, moves, singles, limits, strict=True)
    combined = _evaluate(problem, [_combine(*one) for one in around])
    seen += [*singles, *combined]
    return Evaluated.join(
        [
            Evaluated.join(parts).best_within(limit)
            for *parts, limit in zip(each, singles, combined, limits, strict=True)
        ]
    )


def _evaluate(problem: Problem, groups: Sequence[Genotypes]) -> list[Evaluated]:
    """Each group evaluated, with one call for all."""
    everything = problem.evaluate(np.concatenate(groups))
    edges = np.cumsum([0, *map(len, groups)])
    return [everything.take(np.arange(a, b)) for a, b in itertools.pairwise(edges)]


# --- single changes ---


def neighbours(problem: Problem, genotype: Genotypes) -> Moves:
    """Every change of one slot, of a width or of the resolution of a subnet, shape (columns,); in a coupled space every
    change of a unit's depth that keeps its free choices, too."""
    at = problem.space.layout
    others = [resolution for resolution in problem.resolutions if resolution != genotype[0]]
    changed = np.repeat(genotype[None], len(others), axis=0)
    changed[:, 0] = others
    parts, units = [changed], [np.full(len(others), -1)]
    for unit in range(len(at.units)):
        near = problem.near(unit, genotype[at.place(unit)])
        changed = np.repeat(genotype[None], len(near), axis=0)
        changed[:, at.place(unit)] = near
        parts.append(changed)
        units.append(np.full(len(near), unit))
    for number, unit in enumerate(at.wide_units):
        column = 1 + at.slots + number
        widths = [width for width in range(at.width_count(unit)) if width != genotype[column]]
        changed = np.repeat(genotype[None], len(widths), axis=0)
        changed[:, column] = widths
        parts.append(changed)
        units.append(np.full(len(widths), len(at.units) + number))
    return Moves(np.concatenate(parts), np.concatenate(units))


# --- several changes ---


def _combine(incumbent: Evaluated, moves: Moves, singles: Evaluated, limits: Floats) -> Genotypes:
    """Combinations of changes of different units that promise most within the limits, (n, columns)."""
    gain = singles.accuracy - incumbent.accuracy
    cost = singles.costs - incumbent.costs
    slack = limits - incumbent.costs[0]
    units = [np.flatnonzero(moves.unit == unit) for unit in range(moves.unit.max() + 1)]
    chosen = [
        *_best_pairs(units, gain, cost, slack),
        # The programme knows one cost: what the limits have left weighs them.
        *_front(units, gain, (cost / limits).mean(1), float((slack / limits).mean())),
    ]
    # Changes of different units touch different columns, so their differences add up.
    step = moves.genotypes - incumbent.genotypes
    return np.array(
        [incumbent.genotypes[0] + step[list(some)].sum(0, dtype=np.int16) for some in chosen], dtype=np.int16
    ).reshape(-1, step.shape[1])


def _best_pairs(
    units: list[NDArray[np.intp]], gain: Floats, cost: Floats, slack: Floats
) -> list[tuple[int, ...]]:
    """The pairs of changes, as indices, with the largest summed gain."""
    found: list[tuple[float, int, int]] = []
    most = gain.max(initial=0.0)
    units = [index[gain[index] > -most] for index in units]  # no other can be in a pair that gains
    for one, two in itertools.combinations(units, 2):
        fits = np.ones((len(one), len(two)), dtype=bool)
        for column, room in zip(cost.T, slack, strict=True):
            fits &= column[one][:, None] + column[two] <= room
        both = np.where(fits, gain[one][:, None] + gain[two], -1.0).ravel()
        top = np.argpartition(-both, PAIRS)[:PAIRS] if len(both) > PAIRS else np.arange(len(both))
        a, b = np.divmod(top, max(len(two), 1))
        found += zip(both[top].tolist(), one[a].tolist(), two[b].tolist(), strict=True)
    found.sort(key=lambda pair: (-pair[0], pair[1:]))
    return [pair[1:] for pair in found[:PAIRS] if pair[0] > 0]


def _front(units: list[NDArray[np.intp]], gain: Floats, cost: Floats, slack: float) -> list[tuple[int, ...]]:
    """The last combinations, as indices, on the frontier of summed cost and gain that keep within `slack`."""
    stay = len(gain)
    front = EMPTY
    for index in units:
        spent, accuracy = np.append(cost[index], 0.0), np.append(gain[index], 0.0)
        keep = nondominated(spent, accuracy)
        chosen = np.append(index, stay)[keep].astype(np.int16)
        front = merge(front, Front.of(spent[keep], accuracy[keep], chosen[:, None]))
    rows = front.choice[front.cost <= slack][-COMBINATIONS:].tolist()
    return [tuple(i for i in row if i != stay) for row in rows]
