"""Crossing the best subnets with each other, for all constraints at once.

A local search stops where no change pays off by the sum of what its parts do alone. Some changes only pay
together; those are found by crossing the subnets near the optimum, which differ from it by a change or two, unit by
unit. Bounded, and the same for the same seed.
"""

from __future__ import annotations

import numpy as np

from hwbench.searching.problem import Evaluated, Floats, Problem

GENERATIONS = 10
PARENTS = 40
CHILDREN = 60
NUDGED = 0.5
"""Share of the children of which one slot is drawn anew."""


def breed(problem: Problem, seen: Evaluated, limits: Floats, rng: np.random.Generator) -> Evaluated:
    """Everything that was evaluated on the way.

    Args:
        problem: what is searched.
        seen: subnets, some within each of the limits.
        limits: shape (limits, costs).
        rng: of the crossings.
    """
    pools = [_fittest(seen, limit) for limit in limits]
    born = []
    for _ in range(GENERATIONS):
        children = np.concatenate([_cross(problem, pool, rng) for pool in pools])
        brood = problem.evaluate(problem.nudge(children, NUDGED, rng))
        born.append(brood)
        for i, (pool, limit) in enumerate(zip(pools, limits, strict=True)):
            mine = brood.take(np.arange(i * CHILDREN, (i + 1) * CHILDREN))
            pools[i] = _fittest(Evaluated.join([pool, mine]), limit)
    return Evaluated.join(born)


def _fittest(subnets: Evaluated, limits: Floats) -> Evaluated:
    """The most accurate within the limits, each once."""
    fits = np.flatnonzero(subnets.within(limits))
    order = fits[np.argsort(-subnets.accuracy[fits], kind="stable")]
    # A subnet that comes twice has one accuracy; two subnets hardly ever share one.
    new = np.append(True, np.diff(subnets.accuracy[order]) != 0)
    return subnets.take(order[new][:PARENTS])


def _cross(problem: Problem, pool: Evaluated, rng: np.random.Generator) -> np.ndarray:
    """Children with the resolution and each unit from either of two random parents."""
    one, two = pool.genotypes[rng.integers(len(pool), size=(2, CHILDREN))]
    return problem.mix(one, two, 0.5, rng)
