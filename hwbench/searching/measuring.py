"""Search with the supernet at hand: measure the subnets that tell most, fit the predictor again, search again.

Each round fits a predictor to all that was measured, searches by it, and measures those of the answer, of the best
that were measured, and of the neighbours of both, that are expected to raise the best measured accuracies most
(:mod:`hwbench.searching.informative`), by the predictor and by what it lacked nearby
(:mod:`hwbench.searching.nearby`). What a predictor flatters is thereby found out, and told to the next one. The answer
is of measured subnets only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compofa.accuracy.fitting import MIN_AT_RESOLUTION, MIN_SUBNETS, fit_quickly
from compofa.errors import InputError
from compofa.spaces.arch import Arch
from compofa.spaces.layout import Genotypes, decode
from hwbench.measured_accuracies import MeasuredAccuracies
from hwbench.searching import engine
from hwbench.searching.engine import Found
from hwbench.searching.informative import Wanted, frontier_limits
from hwbench.searching.nearby import told_by_neighbours
from hwbench.searching.problem import Evaluated, Floats, Problem

ROUND = 10
"""Subnets measured before the predictor is fitted again."""
NEIGHBOURS = 2_000
"""Of the frontier that the predictor gives, that are looked at besides."""
STANDS = 1e-4
"""By which a round must be expected to raise the best accuracies, in the mean; else the frontier stands."""

Measure = Callable[[Sequence[Arch]], MeasuredAccuracies]
"""Measures subnets, and gives all that was ever measured."""


@dataclass(frozen=True)
class Rounds:
    """What came of measuring.

    Args:
        known: all measured subnets, those that were there before among them.
        found: the best of them.
        rounds: searches that were made.
        expected: by how much one more round is expected to raise the best accuracies, in the mean over the limits or
            over the frontier.
        stands: that is so little that it is not worth it.
    """

    known: MeasuredAccuracies
    found: Found
    rounds: int
    expected: float
    stands: bool


@dataclass(frozen=True)
class Proposal:
    """What to measure next.

    Args:
        archs: the subnets, the most promising first.
        expected: see :class:`Rounds`.
        reach: the best accuracy as predicted within each limit, and what that search may have missed, shape (limits,);
            1 where that search found nothing.
    """

    archs: list[Arch]
    expected: float
    reach: Floats


def measure_best(
    problem: Problem, limits: Floats, known: MeasuredAccuracies, measure: Measure, count: int, seed: int = 0
) -> Rounds:
    """Measure up to `count` subnets more, until the frontier stands.

    Args:
        problem: what is searched; its accuracy is not asked.
        limits: shape (limits, costs); none for the whole frontier.
        known: what was measured already, in the same supernet.
        measure: measures more.
        count: at most so many.
        seed: of the searches and of the first subnets.

    Raises:
        Infeasible: no subnet meets any of the limits, or none that was measured.
        InputError: so few measurements tell nothing.
    """
    anywhere = engine.search(replace(problem, accuracy=_flat), limits, seed)
    met = [i for i in range(len(limits)) if i not in anywhere.unmet]
    left = count
    if first := first_subnets(problem, known, seed):
        if len(first) > count:
            raise InputError(
                f"{len(known.accuracy)} measured subnets and {count} more are too few to search by: measure "
                f"{len(first)} or more, at fewer resolutions perhaps"
            )
        known, left = measure(first), count - len(first)
    rounds = 0
    while True:
        proposal = propose(problem, limits[met], known, seed + rounds)
        rounds += 1
        if (stands := proposal.expected < STANDS) or not left:
            break
        known, left = measure(now := proposal.archs[:left]), left - len(now)
    measured = _measured(problem, known)[0]
    if not len(measured):
        raise InputError(
            f"none of the {len(known.accuracy)} measured subnets is of space {problem.space.name} at the resolutions "
            "that are searched: measure more"
        )
    found = engine.best_among(problem, measured, limits)
    reach = np.ones(len(limits))  # the most that any subnet can reach
    reach[met] = proposal.reach
    answered = [i for i in range(len(limits)) if i not in found.unmet]
    missed = np.maximum(reach[answered] - found.best.accuracy, 0.0)
    unmet = {i: anywhere.unmet.get(i, why) for i, why in found.unmet.items()}
    found = replace(found, may_miss=missed, unmet=unmet)
    return Rounds(known, found, rounds, proposal.expected, stands)


def first_subnets(problem: Problem, known: MeasuredAccuracies, seed: int) -> list[Arch]:
    """What a predictor needs before it can be asked: at each resolution the smallest subnet, the largest and random
    ones, as many as are lacking; none if enough is known."""
    rng = np.random.default_rng(seed)
    sides = len(problem.resolutions)
    each = max(MIN_AT_RESOLUTION, -(-MIN_SUBNETS // sides))
    have = np.bincount(known.genotypes[:, 0], minlength=len(problem.space.family.resolutions))
    seen = {row.tobytes() for row in known.genotypes}
    found = []
    for resolution in problem.resolutions:
        lacking = each - int(have[resolution])
        drawn = problem.sample(20 * each, rng)
        drawn[:, 0] = resolution
        drawn = drawn[problem.space.can_run(drawn)]
        # By how much there is of everything, ascending: the ends first.
        order = np.argsort(drawn[:, 1:].sum(axis=1), kind="stable")
        ends = drawn[[order[0], order[-1]]]
        new = [row for row in np.concatenate([ends, drawn]) if row.tobytes() not in seen]
        rows = list({row.tobytes(): row for row in new}.values())
        found += rows[: max(lacking, 0)]
    return decode(problem.space.family, np.array(found, dtype=np.int16)) if found else []


def propose(problem: Problem, limits: Floats, known: MeasuredAccuracies, seed: int) -> Proposal:
    """What to measure next, by a predictor of all that is known."""
    rng = np.random.default_rng(seed)
    predictor = fit_quickly(
        known.family, known.genotypes, known.accuracy, seed, standard_error=known.standard_error
    )
    asked = replace(problem, accuracy=lambda genotypes: predictor.predict(genotypes, covered=True))
    answer = engine.search(asked, limits, seed)
    mine, variance = _measured(problem, known)
    parents = Evaluated.join([answer.best, answer.frontier, engine.nondominated(mine)])
    pool = _pool(asked, parents, known, rng)
    accuracy, deviation = told_by_neighbours(predictor, mine, pool, variance)
    wanted = Wanted.of(limits if len(limits) else frontier_limits(answer.frontier, mine), mine)
    chosen, expected = wanted.choose(replace(pool, accuracy=accuracy), deviation, ROUND)
    archs = decode(problem.space.family, pool.genotypes[chosen])
    reach = np.ones(len(limits))
    reach[[i for i in range(len(limits)) if i not in answer.unmet]] = answer.best.accuracy + answer.may_miss
    return Proposal(archs, expected, reach)


def _pool(
    problem: Problem, answer: Evaluated, known: MeasuredAccuracies, rng: np.random.Generator
) -> Evaluated:
    """Subnets and their neighbours, without those that were measured."""
    parents = answer.genotypes[rng.integers(len(answer), size=NEIGHBOURS)]
    near = problem.nudge(problem.nudge(parents, 1.0, rng), 0.5, rng)
    genotypes = np.unique(np.concatenate([answer.genotypes, near]), axis=0)
    seen = {row.tobytes() for row in known.genotypes.astype(np.int16)}
    fresh = np.array([row.tobytes() not in seen for row in genotypes.astype(np.int16)], dtype=np.bool_)
    return problem.evaluate(genotypes[fresh & problem.space.can_run(genotypes)])


def _measured(problem: Problem, known: MeasuredAccuracies) -> tuple[Evaluated, Floats | None]:
    """Those that were measured of what is searched, with their costs; and the variances of their accuracies, where
    these differ."""
    sides = [problem.space.family.resolutions[i] for i in problem.resolutions]
    mine = known.inside(problem.space, sides)
    variance = None if mine.standard_error is None else mine.standard_error**2
    return Evaluated(mine.genotypes, problem.costs_of(mine.genotypes), mine.accuracy), variance


def _flat(genotypes: Genotypes) -> Floats:
    """No subnet is better than another: a search by it only tells which limits can be met."""
    return np.zeros(len(genotypes))
