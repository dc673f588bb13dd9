"""Search of a space: exact where it can be enumerated, else a dynamic programme, rescoring and a local search."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import moocore
import numpy as np

from compofa.errors import RunFailed
from compofa.spaces.layout import Genotypes, decode
from hwbench.searching import additive, breed, polish, programme
from hwbench.searching.problem import Evaluated, Floats, Problem
from lut.lookup import Lookup

ENUMERABLE = 200_000
"""Spaces of at most so many subnets are enumerated."""
SAMPLES = 2_000
"""Random subnets that the surrogate is fitted to, and as many around its best ones that it is fitted to again."""
MUTATION = 0.5
"""Share of the units that are drawn anew around the best ones."""
BEST_WEIGHT = 3.0
"""What a subnet around the best ones counts in the second fit."""
PER_LIMIT = 60
"""Candidates of the dynamic programme that are rescored for each limit."""
STARTS = 4
"""Of the local search for each limit."""
APART = 4
"""Entries of their genotypes in which two starts differ at least."""
FRONTIER_LIMITS, EVEN_LIMITS = 16, 8
"""Limits that stand for a whole frontier: where its subnets are, and, of one cost, evenly spread, where few were found
so far."""
WEIGHTINGS = 9
"""Of two costs."""


class Infeasible(RunFailed):
    """No subnet meets a constraint; the message names the nearest one.

    Args:
        unmet: for each limit within which none was found, by its place among those asked for: why.
    """

    def __init__(self, unmet: dict[int, str]) -> None:
        super().__init__("; ".join(unmet.values()))
        self.unmet = unmet


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        best: the most accurate subnet within each limit that some subnet meets, in their order.
        frontier: of all subnets looked at, by the first cost, rising.
        method: how it was searched, in words.
        exact: no subnet of the space is better, but for rounding.
        may_miss: accuracy by which an unseen subnet may beat each of `best`, shape (limits,); it rests on
            `residual`, and is 0 where every subnet was looked at.
        residual: the most by which any subnet looked at was better than the additive surrogate says.
        evaluations: subnets that the accuracy predictor was asked for.
        unmet: for each limit within which no subnet was found, by its place among those asked for: why.
    """

    best: Evaluated
    frontier: Evaluated
    method: str
    exact: bool
    may_miss: Floats
    residual: float
    evaluations: int
    unmet: dict[int, str] = field(default_factory=dict)


def search(problem: Problem, limits: Floats, seed: int = 0) -> Found:
    """The most accurate subnet within each of several limits that can be met, and the frontier.

    Args:
        problem: what is searched.
        limits: shape (limits, costs); without a limit the whole frontier is searched.
        seed: of the subnets that the surrogate is fitted to.

    Raises:
        Infeasible: no subnet meets any of the limits.
    """
    subnets = problem.space.size() * len(problem.resolutions)
    open_limits = np.arange(len(limits))
    unmet: dict[int, str] = {}
    while True:
        asked = limits[open_limits]
        try:
            found = _exact(problem, asked) if subnets <= ENUMERABLE else _approximate(problem, asked, seed)
            return replace(found, unmet=unmet)
        except Infeasible as error:
            unmet = dict(
                sorted({**unmet, **{int(open_limits[i]): w for i, w in error.unmet.items()}}.items())
            )
            open_limits = np.delete(open_limits, list(error.unmet))
            if not len(open_limits):
                raise Infeasible(unmet) from None


def best_among(problem: Problem, subnets: Evaluated, limits: Floats) -> Found:
    """The most accurate of `subnets`, at least one, within each limit that one of them meets, and their frontier.

    Raises:
        Infeasible: none of them meets any of the limits.
    """
    unmet = {
        i: _why(problem, subnets, limit) for i, limit in enumerate(limits) if not subnets.within(limit).any()
    }
    if len(limits) and len(unmet) == len(limits):
        raise Infeasible(unmet)
    met = [limit for i, limit in enumerate(limits) if i not in unmet]
    return replace(_best_of_all(problem, subnets, np.array(met).reshape(-1, limits.shape[1])), unmet=unmet)


def _exact(problem: Problem, limits: Floats) -> Found:
    genotypes = problem.space.enumerate_genotypes()  # without what cannot run
    if len(problem.resolutions) < len(problem.space.family.resolutions):
        genotypes = genotypes[np.isin(genotypes[:, 0], problem.resolutions)]
    return replace(
        _best_of_all(problem, problem.evaluate(genotypes), limits),
        method="enumeration of every subnet",
        exact=True,
    )


def _best_of_all(problem: Problem, every: Evaluated, limits: Floats) -> Found:
    best = _best_of_each(problem, every, limits)
    return Found(
        best=Evaluated.join(best) if best else every.take(np.arange(0)),
        frontier=nondominated(every),
        method="the best of those measured",
        exact=False,
        may_miss=np.zeros(len(limits)),
        residual=0.0,
        evaluations=len(every),
    )


def _best_of_each(problem: Problem, subnets: Evaluated, limits: Floats) -> list[Evaluated]:
    """The most accurate of `subnets` within each limit.

    Raises:
        Infeasible: none meets some of the limits.
    """
    best = [subnets.best_within(limit) for limit in limits]
    if unmet := {i: _why(problem, subnets, limits[i]) for i, one in enumerate(best) if not len(one)}:
        raise Infeasible(unmet)
    return best


def _why(problem: Problem, subnets: Evaluated, limits: Floats) -> str:
    """That none of `subnets` meets the limits, and which comes nearest."""
    nearest = int(np.argmin((subnets.costs / limits).max(1)))
    (arch,) = decode(problem.space.family, subnets.genotypes[[nearest]])
    units = [cost.unit for cost in problem.costs]
    limit, fastest = (
        " and ".join(f"{v:.4g} {unit}" for v, unit in zip(values, units, strict=True))
        for values in (limits, subnets.costs[nearest])
    )
    which = "fastest" if set(units) == {"ms"} else "nearest"
    return f"no subnet of {problem.space.name} was found within {limit}: the {which} takes {fastest} ({arch})"


def nondominated(subnets: Evaluated) -> Evaluated:
    """The subnets that can run and that no other beats in one objective without losing in another, by the
    first cost, rising; one of several equal ones."""
    subnets = subnets.take(np.all(np.isfinite(subnets.costs), axis=1))
    if subnets.costs.shape[1] == 1:
        return subnets.take(programme.nondominated(subnets.costs[:, 0], subnets.accuracy))
    points = np.column_stack([subnets.costs, subnets.accuracy])
    maximise = [False] * subnets.costs.shape[1] + [True]
    index = np.flatnonzero(moocore.is_nondominated(points, maximise=maximise))
    return subnets.take(index[np.argsort(subnets.costs[index, 0], kind="stable")])


# --- where there are too many to look at ---


def _approximate(problem: Problem, limits: Floats, seed: int) -> Found:
    rng = np.random.default_rng(seed)
    sample = problem.evaluate(problem.sample(SAMPLES, rng))
    scale = _scale(limits, sample)
    additive_accuracy = additive.extract(problem)
    if additive_accuracy:
        surrogate, seen = additive_accuracy, sample
    else:
        surrogate, seen = _learn(problem, sample, limits, scale, rng)
    epsilon = 0.0 if additive_accuracy else programme.EPSILON
    candidates, ceilings = _candidates(problem, surrogate, scale, epsilon)
    rescored = problem.evaluate(_promising(problem, candidates, surrogate, limits, seen))
    seen = Evaluated.join([seen, rescored])
    exact = additive_accuracy is not None and len(scale) == 1 and problem.is_additive
    if not exact:
        targets = limits if len(limits) else _frontier_limits(nondominated(seen))
        starts, start_limits = _starts(seen, targets, STARTS if len(limits) else 1)
        seen = Evaluated.join([seen, polish.polish(problem, starts, start_limits)[1]])
        seen = Evaluated.join([seen, breed.breed(problem, seen, targets, rng)])
    best = _best_of_each(problem, seen, limits)
    residual = max(float((seen.accuracy - surrogate.predict(seen.genotypes)).max()), 0.0)
    # Who meets a limit is within it for the additive costs, too, but for what these say too much.
    margin = 0.0 if problem.is_additive else problem.overestimate(seen)
    ceiling = np.array([min(_ceiling(ceilings, limit), 1.0) for limit in limits * (1 + margin)])
    accuracy = np.array([float(one.accuracy[0]) for one in best])
    return Found(
        best=Evaluated.join(best) if best else seen.take(np.arange(0)),
        frontier=nondominated(seen),
        method="dynamic programme over units" + ("" if exact else ", rescoring, local search, crossing"),
        exact=exact,
        may_miss=np.maximum(ceiling + residual - accuracy, 0.0),
        residual=residual,
        evaluations=len(seen),
    )


def _learn(
    problem: Problem, sample: Evaluated, limits: Floats, scale: Floats, rng: np.random.Generator
) -> tuple[Lookup, Evaluated]:
    """An additive surrogate that is best where it matters, around the subnets that it finds itself; and the
    subnets that it was fitted to."""
    family = problem.space.family
    first = additive.fit(family, sample.genotypes, sample.accuracy, np.ones(len(sample)))
    candidates, _ = _candidates(problem, first, scale)
    best = _promising(problem, candidates, first, limits, sample)
    around = problem.mutate(best[rng.integers(len(best), size=SAMPLES)], MUTATION, rng)
    seen = Evaluated.join([sample, problem.evaluate(around)])
    weight = np.repeat([1.0, BEST_WEIGHT], [len(sample), SAMPLES])
    return additive.fit(family, seen.genotypes, seen.accuracy, weight), seen


def _scale(limits: Floats, sample: Evaluated) -> Floats:
    """What a unit of each cost is worth, shape (costs,)."""
    typical = limits.mean(0) if len(limits) else np.median(sample.costs, axis=0)
    scale: Floats = 1 / typical
    return scale


@dataclass(frozen=True)
class Ceiling:
    """The best surrogate accuracies under one weighting of the costs.

    Args:
        weights: shape (costs,).
        fronts: of the weighted cost, one a resolution.
        loose: accuracy that the fronts may lack.
    """

    weights: Floats
    fronts: tuple[programme.Front, ...]
    loose: float


def _candidates(
    problem: Problem, surrogate: Lookup, scale: Floats, epsilon: float = programme.EPSILON
) -> tuple[Genotypes, list[Ceiling]]:
    """Subnets on the surrogate's frontiers, shape (n, columns), and the frontiers."""
    genotypes, ceilings = [], []
    for weights in _weightings(len(scale)):
        cost = additive.weighted(problem.additive_costs, weights * scale)
        fronts = tuple(programme.solve(problem, cost, surrogate, r, epsilon) for r in problem.resolutions)
        ceilings.append(Ceiling(weights * scale, fronts, epsilon * (len(problem.space.layout.units) - 1)))
        genotypes += [
            problem.assemble(r, front.choice, front.widths)
            for r, front in zip(problem.resolutions, fronts, strict=True)
        ]
    return np.unique(np.concatenate(genotypes), axis=0), ceilings


def _weightings(costs: int) -> Floats:
    """Weights of the costs that sum to one, on a grid, shape (n, costs)."""
    steps = range(WEIGHTINGS)
    grid = [w for w in itertools.product(steps, repeat=costs) if sum(w) == WEIGHTINGS - 1]
    return np.array(grid, dtype=float) / (WEIGHTINGS - 1)


def _promising(
    problem: Problem, candidates: Genotypes, surrogate: Lookup, limits: Floats, seen: Evaluated
) -> Genotypes:
    """For each limit the subnets within it that the surrogate holds for the best; without limits all candidates.

    Those are candidates; where none meets a limit, which several costs or one that is no sum may make tighter than
    they are, they are among those `seen`.

    Raises:
        Infeasible: nothing meets some of the limits.
    """
    if not len(limits):
        return candidates
    accuracy = surrogate.predict(candidates)
    subnets = Evaluated(candidates, problem.costs_of(candidates), accuracy)
    if not all(subnets.within(limit).any() for limit in limits):
        subnets = Evaluated.join([subnets, replace(seen, accuracy=surrogate.predict(seen.genotypes))])
        candidates, accuracy = subnets.genotypes, subnets.accuracy
    chosen = np.zeros(len(candidates), dtype=bool)
    _best_of_each(problem, subnets, limits)
    for limit in limits:
        fits = np.flatnonzero(subnets.within(limit))
        chosen[fits[np.argsort(-accuracy[fits], kind="stable")[:PER_LIMIT]]] = True
    return candidates[chosen]


def _frontier_limits(frontier: Evaluated) -> Floats:
    """Costs spread over a frontier, shape (n, costs)."""
    index = np.unique(np.linspace(0, len(frontier) - 1, FRONTIER_LIMITS).round().astype(int))
    placed = frontier.costs[index]
    if placed.shape[1] > 1:
        return placed
    even = np.linspace(placed.min(), placed.max(), EVEN_LIMITS + 2)[1:-1]
    return np.concatenate([placed, even[:, None]])


def _starts(seen: Evaluated, limits: Floats, count: int) -> tuple[Evaluated, Floats]:
    """For each limit the best subnets so far, at most `count`, each unlike the others; and their limits."""
    starts: list[int] = []
    rows: list[int] = []
    for row, limit in enumerate(limits):
        fits = np.flatnonzero(seen.within(limit))
        order = fits[np.argsort(-seen.accuracy[fits], kind="stable")]
        genotypes, free = seen.genotypes[order], np.ones(len(order), dtype=bool)
        for _ in range(count):
            if not free.any():
                break
            first = int(np.argmax(free))
            starts.append(int(order[first]))
            rows.append(row)
            free &= (genotypes != genotypes[first]).sum(1) >= APART
    return seen.take(np.array(starts)), limits[rows]


def _ceiling(ceilings: list[Ceiling], limits: Floats) -> float:
    """The most that the surrogate gives any subnet within the limits: whoever meets all limits meets their
    weighted sum."""
    best = np.inf
    for ceiling in ceilings:
        limit = float(ceiling.weights @ limits)
        reached = [
            front.accuracy[np.searchsorted(front.cost, limit * (1 + 1e-12), side="right") - 1]
            for front in ceiling.fronts
            if front.cost[0] <= limit * (1 + 1e-12)
        ]
        best = min(best, max(reached, default=np.inf) + ceiling.loose)
    return float(best)
