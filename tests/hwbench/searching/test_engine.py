"""Searches on spaces small enough for brute force."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compofa.blocks import Block
from compofa.network import frame
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout
from hwbench.searching import breed, engine, polish
from hwbench.searching.engine import Infeasible, search
from hwbench.searching.problem import Cost, Evaluated, Problem

seeds = st.integers(0, 2**32)


def limits(problem: Problem, count: int = 6) -> np.ndarray:
    """Quantiles of the latencies, shape (count, targets)."""
    latency = problem.costs_of(problem.space.enumerate_genotypes())
    # a little more than a latency that occurs, so that rounding decides nothing
    return np.quantile(latency, np.linspace(0.05, 0.9, count), axis=0) + 1e-9


def optimum(problem: Problem, limits: np.ndarray) -> np.ndarray:
    """Best accuracy within each limit, by looking at every subnet."""
    every = problem.evaluate(problem.space.enumerate_genotypes())
    return np.array([every.accuracy[every.within(one)].max() for one in limits])


@pytest.fixture
def not_enumerated():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "ENUMERABLE", 0)
        yield


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_enumeration_is_brute_force(searching, seed: int) -> None:
    problem = searching.make_problem(seed, bend=0.1)
    found = search(problem, wanted := limits(problem))
    assert found.exact
    np.testing.assert_array_equal(found.best.accuracy, optimum(problem, wanted))
    np.testing.assert_array_equal(found.may_miss, 0)


@pytest.mark.parametrize("space", ["ofa", "compofa-elastic"])
def test_the_additive_search_is_brute_force(searching, not_enumerated, space: str) -> None:
    for seed in range(8):
        problem = searching.make_problem(seed, space=space, steps=0 if seed % 2 else 20)
        wanted = limits(problem)
        found = search(problem, wanted)
        assert found.exact
        np.testing.assert_allclose(found.best.accuracy, optimum(problem, wanted), atol=1e-9)
        assert (found.best.costs <= wanted).all()
        assert found.may_miss.max() < 1e-9
        whole = search(problem, wanted[:0]).frontier
        for limit, best in zip(wanted, optimum(problem, wanted), strict=True):
            assert whole.best_within(limit).accuracy[0] == pytest.approx(best, abs=1e-9)


def test_what_may_be_missed_holds_what_is_missed(searching, not_enumerated) -> None:
    missed = []
    for seed in range(10):
        problem = searching.make_problem(seed, bend=0.02)
        wanted = limits(problem)
        found = search(problem, wanted)
        assert not found.exact
        assert (found.best.costs <= wanted).all()
        missed.append(optimum(problem, wanted) - found.best.accuracy)
        assert (missed[-1] <= found.may_miss + 1e-9).all()
    assert np.mean(np.array(missed) > 1e-9) < 0.05


@dataclass(frozen=True)
class Bent:
    """A cost that is no sum: up to `share` more or less than a lookup's."""

    lookup: Cost
    twist: np.ndarray
    share: float
    unit = "ms"

    def as_lookup(self) -> None:
        return None

    def predict(self, genotypes: np.ndarray) -> np.ndarray:
        choice = genotypes[:, 1:] / 4
        bend = np.tanh(((choice @ self.twist) * choice).sum(1))
        return (1 + self.lookup.predict(genotypes)) * (1 + self.share * bend)


def bent(problem: Problem, seed: int, share: float = 0.05) -> Problem:
    columns = problem.space.layout.columns - 1
    twist = np.random.default_rng(seed + 100).standard_normal((columns, columns))
    return replace(problem, costs=tuple(Bent(lookup, twist, share) for lookup in problem.costs))


@pytest.mark.parametrize("bend", [0.0, 0.02])
@pytest.mark.parametrize("targets", [1, 2])
def test_latencies_that_are_no_sum(searching, not_enumerated, bend: float, targets: int) -> None:
    """Limits hold for the model, not for its additive stand-in, and no miss exceeds `may_miss`."""
    missed = []
    for seed in range(6):
        problem = bent(searching.make_problem(seed, bend=bend, targets=targets), seed)
        wanted = limits(problem)
        found = search(problem, wanted)
        assert not found.exact and problem.overestimate(found.frontier).max() > 0.001
        np.testing.assert_array_equal(found.best.costs, problem.costs_of(found.best.genotypes))
        assert (found.best.costs <= wanted).all()
        missed.append(optimum(problem, wanted) - found.best.accuracy)
        assert (missed[-1] <= found.may_miss + 1e-9).all()
    assert np.mean(np.array(missed) > 1e-9) < 0.1


def test_the_same_seed_finds_the_same(searching, not_enumerated) -> None:
    problem = searching.make_problem(3, bend=0.05)
    one, two = (search(problem, limits(problem), seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.best.genotypes, two.best.genotypes)
    np.testing.assert_array_equal(one.frontier.genotypes, two.frontier.genotypes)


@pytest.mark.parametrize("enumerable", [0, 10**6])
def test_two_targets(searching, monkeypatch, enumerable: int) -> None:
    monkeypatch.setattr(engine, "ENUMERABLE", enumerable)
    missed = []
    for seed in range(4):
        problem = searching.make_problem(seed, bend=0.02, targets=2)
        wanted = limits(problem, 4)
        for both in wanted:
            found = search(problem, both[None])
            assert (found.best.costs <= both).all()
            assert found.exact == bool(enumerable)
            missed.append(float(optimum(problem, both[None])[0] - found.best.accuracy[0]))
            assert missed[-1] <= found.may_miss[0] + 1e-9
    assert np.mean(np.array(missed) > 1e-9) <= (0.2 if not enumerable else 0)


def test_the_frontier_of_three_objectives_has_no_dominated_subnet(searching) -> None:
    problem = searching.make_problem(2, bend=0.02, targets=2)
    front = search(problem, np.empty((0, 2))).frontier
    worse = [
        ((front.costs <= ms).all(1) & (front.accuracy >= a)).sum()
        for ms, a in zip(front.costs, front.accuracy, strict=True)
    ]
    assert worse == [1] * len(front)
    assert len(front) > 10


@pytest.mark.parametrize("enumerable", [0, 10**6])
def test_infeasible_names_the_fastest(searching, monkeypatch, enumerable: int) -> None:
    monkeypatch.setattr(engine, "ENUMERABLE", enumerable)
    problem = searching.make_problem(3, bend=0.02)
    fastest = problem.costs_of(problem.space.enumerate_genotypes()).min()
    with pytest.raises(Infeasible, match=rf"within 0\.01 ms: the fastest takes {fastest:.4g} ms \(r"):
        search(problem, np.array([[0.01], [0.001]]))


@pytest.mark.parametrize("enumerable", [0, 10**6])
def test_limits_that_can_be_met_are_answered_though_others_cannot(searching, monkeypatch, enumerable) -> None:
    monkeypatch.setattr(engine, "ENUMERABLE", enumerable)
    problem = searching.make_problem(3, bend=0.02)
    wanted = limits(problem, 3)
    found = search(problem, np.vstack([[0.01], wanted[:2], [0.02], wanted[2:]]))
    alone = search(problem, wanted)
    np.testing.assert_array_equal(found.best.genotypes, alone.best.genotypes)
    np.testing.assert_array_equal(found.may_miss, alone.may_miss)
    assert list(found.unmet) == [0, 3] and "within 0.02 ms" in found.unmet[3]


def test_limits_that_turn_out_unmet_one_after_the_other_leave_the_rest_in_place(
    searching, monkeypatch
) -> None:
    problem, exact = searching.make_problem(3), engine._exact

    def one_at_a_time(problem: Problem, limits: np.ndarray) -> engine.Found:
        try:
            return exact(problem, limits)
        except Infeasible as error:
            raise Infeasible(dict(list(error.unmet.items())[:1])) from None

    monkeypatch.setattr(engine, "_exact", one_at_a_time)
    wanted = limits(problem, 3)
    found = search(problem, np.vstack([[0.01], wanted[:1], [0.02], wanted[1:2], [0.03], wanted[2:]]))
    np.testing.assert_array_equal(found.best.accuracy, optimum(problem, wanted))
    assert list(found.unmet) == [0, 2, 4] and "within 0.03 ms" in found.unmet[4]


def test_a_limit_that_a_sampled_subnet_meets_is_met(searching, monkeypatch, not_enumerated) -> None:
    """The programme's candidates may all miss what several costs allow."""
    problem = searching.make_problem(3, bend=0.02)
    (wanted,) = limits(problem, 1)
    every = problem.evaluate(problem.space.enumerate_genotypes())
    above = every.take(np.flatnonzero(~every.within(wanted))[:5])
    monkeypatch.setattr(engine, "_candidates", lambda *_: (above.genotypes, []))
    found = search(problem, wanted[None])
    assert not found.unmet and found.best.within(wanted).all() and np.isfinite(found.may_miss).all()


# --- blocks that cannot run ---


def crippled(problem: Problem, seed: int, share: float = 0.25) -> Problem:
    """The problem on a device that cannot run some of the blocks: tables know no latency of these."""
    space, rng = problem.space, np.random.default_rng(seed)
    family = space.family
    elastic = [b for b in space.all_blocks() if b.hidden_channels > b.in_shape[0]]
    space = space.without(b for b in elastic if rng.random() < share)
    lookups = [cost.lookup for cost in problem.costs]
    costs = tuple(
        replace(cost, lookup=replace(lookup, slots=np.where(space.runs, lookup.slots, np.nan)))
        for cost, lookup in zip(problem.costs, lookups, strict=True)
    )
    kept = tuple(i for i in problem.resolutions if family.resolutions[i] in space.resolutions)
    return replace(problem, space=space, costs=costs, resolutions=kept)


def runs_by_blocks(problem: Problem, genotypes: Genotypes) -> np.ndarray:
    """Which of `genotypes`, of a family without widths to choose, have no forbidden block: looked up one by one."""
    family, forbidden = problem.space.family, problem.space.forbidden
    runs = np.ones(len(genotypes), dtype=bool)
    for slot, choices in enumerate(genotypes[:, 1:].T):
        places, which = np.unique(np.stack([genotypes[:, 0], choices]), axis=1, return_inverse=True)
        lacks = [
            choice > 0 and _block(family, side, slot, choice) in forbidden
            for side, choice in places.T.tolist()
        ]
        runs &= ~np.array(lacks)[which.ravel()]
    return runs


@functools.cache
def _block(family: Family, resolution: int, slot: int, choice: int) -> Block:
    unit, position = layout(family).slot(slot)
    around = frame(family, family.resolutions[resolution])
    return around.block(unit, position, family.elastic_units[unit].choices[choice - 1])


@pytest.mark.parametrize("bend", [0.0, 0.02])
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("space", ["ofa", "compofa-elastic"])
def test_what_cannot_run_is_never_found_and_the_best_of_the_rest_is(
    searching, not_enumerated, space: str, targets: int, bend: float
) -> None:
    tried = 0
    for seed in range(4):
        whole = searching.make_problem(seed, bend=bend, targets=targets, space=space)
        problem = crippled(whole, seed, share=0.15 if space == "ofa" else 0.05)
        if not problem.resolutions:
            continue
        tried += 1
        # Brute force that knows nothing of spaces with holes: look at the blocks of each subnet.
        every = whole.space.enumerate_genotypes()
        runs = runs_by_blocks(problem, every)
        assert 0 < runs.sum() < len(runs) and runs.sum() == problem.space.count()
        subnets = whole.evaluate(every[runs])
        wanted = np.quantile(subnets.costs, [0.1, 0.4, 0.8], axis=0) + 1e-9
        best = np.array([subnets.accuracy[subnets.within(one)].max() for one in wanted])
        found = search(problem, wanted)
        assert problem.space.can_run(found.frontier.genotypes).all()
        assert np.isfinite(found.frontier.costs).all()
        assert (found.best.costs <= wanted).all()
        missed = best - found.best.accuracy
        assert (missed <= found.may_miss + 1e-9).all() and (missed >= -1e-9).all()
        if found.exact:
            np.testing.assert_allclose(found.best.accuracy, best, atol=1e-9)
            assert found.may_miss.max() < 1e-9
    assert tried >= 2


def test_polishing_never_loses_and_keeps_the_limits(searching) -> None:
    problem, rng = searching.make_problem(9, bend=0.1, targets=2), np.random.default_rng(0)
    starts = problem.evaluate(problem.sample(12, rng))
    slack = starts.costs * 1.05
    best, seen = polish.polish(problem, starts, slack)
    assert (best.accuracy >= starts.accuracy).all()
    assert (best.accuracy > starts.accuracy).mean() > 0.5
    assert (best.costs <= slack).all()
    again = problem.evaluate(best.genotypes)
    np.testing.assert_allclose(again.accuracy, best.accuracy)
    np.testing.assert_allclose(again.costs, best.costs)
    assert len(seen) > len(best)
    # Nothing that one change reaches is better.
    for i, genotype in enumerate(best.genotypes):
        near = problem.evaluate(polish.neighbours(problem, genotype).genotypes)
        assert near.accuracy[near.within(slack[i])].max(initial=0) <= best.accuracy[i] + 1e-12


def test_crossing_finds_changes_that_pay_only_together(searching) -> None:
    problem = searching.make_problem(9, bend=0.3)
    wanted, gained = limits(problem), []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        seen = problem.evaluate(problem.sample(100, rng))
        born = breed.breed(problem, seen, wanted, rng)
        for limit in wanted:
            before, after = (float(found.best_within(limit).accuracy[0]) for found in (seen, born))
            gained.append(after - before)
    assert np.mean(gained) > 0.02


def test_best_within_prefers_the_faster_of_equals() -> None:
    subnets = Evaluated(
        np.zeros((3, 2), np.int16), np.array([[3.0], [2.0], [9.0]]), np.array([0.5, 0.5, 0.9])
    )
    assert subnets.best_within(np.array([4.0])).costs.tolist() == [[2.0]]
    assert len(subnets.best_within(np.array([1.0]))) == 0


def test_a_frontier_is_searched_where_few_of_its_subnets_were_found() -> None:
    """All but one of its subnets are near the cheap end."""
    costs = np.append(np.linspace(1.0, 1.1, 30), 9.0)[:, None]
    frontier = Evaluated(np.zeros((31, 4), np.int16), costs, np.linspace(0.5, 0.6, 31))
    limits = engine._frontier_limits(frontier)[:, 0]
    assert np.diff(np.sort(limits)).max() < 1.0
    assert (limits <= 1.1).sum() >= 15
    several = engine._frontier_limits(replace(frontier, costs=np.hstack([costs, costs])))
    assert several.shape[1] == 2 and set(several[:, 0]) <= set(costs[:, 0])
