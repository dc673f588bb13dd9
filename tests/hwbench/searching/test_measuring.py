"""Searches that measure as they go, on a family small enough to know the best there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compofa.accuracy.fitting import fit_quickly
from compofa.accuracy.origin import AccuracyOrigin
from compofa.errors import InputError
from compofa.spaces.layout import encode
from hwbench.measured_accuracies import MeasuredAccuracies
from hwbench.searching import measuring
from hwbench.searching.engine import Infeasible, search
from hwbench.searching.informative import Wanted, frontier_limits
from hwbench.searching.measuring import first_subnets, measure_best
from hwbench.searching.nearby import told_by_neighbours
from hwbench.searching.problem import Evaluated

WHOLE = np.empty((0, 1))


class Bench:
    """Measures by what a made-up problem says, and counts."""

    def __init__(self, problem) -> None:
        self.problem, self.family, self.asked = problem, problem.space.family, []

    def __call__(self, archs) -> MeasuredAccuracies:
        self.asked += archs
        return self.known

    @property
    def known(self) -> MeasuredAccuracies:
        genotypes = encode(self.family, self.asked)
        accuracy = self.truth(genotypes)
        return MeasuredAccuracies(Path("m"), self.family, genotypes, accuracy, AccuracyOrigin())

    def truth(self, genotypes):
        return 0.5 + 0.2 * np.tanh(self.problem.accuracy(genotypes))


@pytest.fixture
def bench(searching) -> Bench:
    return Bench(searching.make_problem(3, bend=0.05))


def mean_best(problem, frontier: Evaluated, limits: np.ndarray) -> float:
    return float(Wanted.of(limits, frontier).best.mean())


def test_a_few_measurements_find_nearly_the_best_of_all(bench) -> None:
    """100 of 16,000 subnets: within a tenth of what 100 random ones lack of the best within each limit."""
    problem = bench.problem
    every = problem.space.enumerate_genotypes()
    whole = Evaluated(every, problem.costs_of(every), bench.truth(every))
    limits = np.quantile(whole.costs, np.linspace(0.02, 1, 40))[:, None]
    random = whole.take(np.random.default_rng(0).choice(len(every), 100, replace=False))
    found = measure_best(problem, WHOLE, bench.known, bench, 100)
    assert len(bench.asked) == len(set(bench.asked)) <= 100
    lacks, random_lacks = (
        mean_best(problem, whole, limits) - mean_best(problem, some, limits)
        for some in (found.found.frontier, random)
    )
    assert 0 <= lacks < random_lacks / 10
    # Every accuracy of the answer was measured.
    rows = found.found.frontier
    np.testing.assert_allclose(rows.accuracy, bench.truth(rows.genotypes))


def test_a_frontier_that_stands_ends_it_early_and_goes_on_where_it_was(bench, monkeypatch) -> None:
    monkeypatch.setattr(measuring, "STANDS", 5e-4)
    first = measure_best(bench.problem, WHOLE, bench.known, bench, 60)
    assert len(bench.asked) == 60 and not first.stands
    more = measure_best(bench.problem, WHOLE, bench.known, bench, 2_000)
    assert more.stands and more.expected < first.expected
    assert 60 < len(bench.asked) < 1_000 and len(bench.asked) == len(set(bench.asked))
    again = measure_best(bench.problem, WHOLE, bench.known, bench, 2_000)
    assert again.rounds == 1 and again.stands


def test_limits_are_answered_in_their_order_and_what_none_meets_is_said(bench) -> None:
    costs = bench.problem.costs_of(bench.problem.space.enumerate_genotypes())[:, 0]
    limits = np.array([[np.quantile(costs, 0.6)], [costs.min() / 2], [np.quantile(costs, 0.2)]])
    found = measure_best(bench.problem, limits, bench.known, bench, 80).found
    assert list(found.unmet) == [1]
    assert (found.best.costs[:, 0] <= limits[[0, 2], 0]).all()
    truth = replace(bench.problem, accuracy=bench.truth)
    best = search(truth, limits[[0, 2]]).best.accuracy
    assert (found.best.accuracy > best - 0.01).all() and (found.may_miss >= 0).all()
    with pytest.raises(Infeasible, match="was found within"):
        measure_best(bench.problem, limits[1:2], bench.known, bench, 80)


def test_the_first_subnets_are_the_ends_and_as_many_as_a_predictor_needs(bench) -> None:
    first = first_subnets(bench.problem, bench.known, 0)
    assert len(first) == len(set(first)) == 50
    assert {arch.resolution for arch in first} == set(bench.family.resolutions)
    bench(first[:30])
    assert not set(first[:30]) & set(rest := first_subnets(bench.problem, bench.known, 0))
    assert len(rest) == 20
    with pytest.raises(InputError, match="30 measured subnets and 3 more are too few"):
        measure_best(bench.problem, WHOLE, bench.known, bench, 3)


def test_what_is_unsure_or_better_is_measured_first() -> None:
    """Two limits, 0.5 within the first and 0.6 within the second."""
    known = Evaluated(np.zeros((2, 4), np.int16), np.array([[1.0], [2.0]]), np.array([0.5, 0.6]))
    wanted = Wanted.of(np.array([[1.0], [2.0]]), known)
    np.testing.assert_allclose(wanted.best, [0.5, 0.6])
    accuracy = np.array([0.4, 0.55, 0.65, 0.65])
    candidates = Evaluated(
        np.diag([5, 6, 7, 8]).astype(np.int16), np.array([[1.0], [2.0], [2.0], [1.0]]), accuracy
    )
    chosen, expected = wanted.choose(candidates, np.full(4, 1e-3), 4)
    # The last is better within both limits, and the third no longer is once that is known.
    assert chosen[0] == 3 and expected == pytest.approx((0.15 + 0.05) / 2, abs=1e-3)
    nothing, none = wanted.choose(candidates.take(np.arange(0)), np.empty(0), 4)
    assert (len(nothing), none) == (0, 0.0)
    unsure, _ = wanted.choose(candidates, np.array([1e-3, 1.0, 1e-3, 1e-3]), 1)
    assert unsure.tolist() == [1]


def test_a_frontier_counts_as_far_as_the_dearest_measured_subnet() -> None:
    """As a hypervolume does: what is best of all counts beyond the frontier, too."""
    subnets = Evaluated(np.zeros((2, 4), np.int16), np.array([[1.0], [2.0]]), np.array([0.5, 0.6]))
    dear = replace(subnets, costs=np.array([[np.inf], [5.0]]))
    assert frontier_limits(subnets, dear)[[0, -1], 0].tolist() == [1.0, 5.0]
    assert frontier_limits(subnets, dear.take(np.arange(0)))[-1, 0] == 2.0


def test_neighbours_share_what_the_predictor_lacks(bench) -> None:
    """One measured subnet 5 points better than predicted: its neighbour is expected to be better, a stranger not."""
    known = bench(first_subnets(bench.problem, bench.known, 0))
    predictor = fit_quickly(known.family, known.genotypes, known.accuracy)
    mine = Evaluated(known.genotypes, bench.problem.costs_of(known.genotypes), known.accuracy)
    every = bench.problem.space.enumerate_genotypes()
    apart = (every != mine.genotypes[0]).sum(axis=1)
    asked = bench.problem.evaluate(every[[np.flatnonzero(apart == 1)[0], np.argmax(apart)]])
    lucky = replace(mine, accuracy=mine.accuracy + 0.05 * (np.arange(len(mine)) == 0))
    before, deviation = told_by_neighbours(predictor, mine, asked)
    after, _ = told_by_neighbours(predictor, lucky, asked)
    near, far = after - before
    assert 0.01 < near < 0.05 and abs(far) < near / 3
    own = predictor.deviation(asked.genotypes)
    assert (deviation < own).all() and deviation[0] / own[0] < deviation[1] / own[1]
    # What was hardly measured tells hardly anything.
    vague, _ = told_by_neighbours(predictor, lucky, asked, np.full(len(mine), 1.0))
    np.testing.assert_allclose(vague, asked.accuracy, atol=1e-3)
