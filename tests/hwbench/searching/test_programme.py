"""The dynamic programme gives exactly the frontier that brute force gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwbench.searching import programme

seeds = st.integers(0, 2**32)


def brute_force(latency: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Values of the frontier, shape (n, 2), by definition."""
    order = np.lexsort((-accuracy, latency))
    best, points = -np.inf, []
    for i in order:
        if accuracy[i] > best + 1e-12:
            best = accuracy[i]
            points.append((latency[i], accuracy[i]))
    return np.array(points)


@pytest.mark.parametrize("space", ["ofa", "wide", "compofa-elastic"])
@given(seed=seeds, steps=st.sampled_from([0, 3, 50]))
@settings(max_examples=25, deadline=None)
def test_the_frontier_is_exact(searching, space: str, seed: int, steps: int) -> None:
    problem = searching.make_problem(seed, steps=steps, space=space)
    accuracy = searching.random_additive(problem.space.family, np.random.default_rng(seed + 1), steps)
    genotypes = problem.space.enumerate_genotypes()
    for resolution in problem.resolutions:
        front = programme.solve(problem, problem.additive_costs[0], accuracy, resolution, epsilon=0.0)
        mine = genotypes[genotypes[:, 0] == resolution]
        expected = brute_force(problem.additive_costs[0].predict(mine), accuracy.predict(mine))
        rebuilt = problem.assemble(resolution, front.choice, front.widths)
        np.testing.assert_allclose(accuracy.predict(rebuilt), front.accuracy)
        np.testing.assert_allclose(problem.costs_of(rebuilt)[:, 0], front.cost)
        for limit in np.linspace(expected[0, 0], expected[-1, 0], 20):
            best = expected[expected[:, 0] <= limit + 1e-9, 1].max()
            assert front.accuracy[front.cost <= limit + 1e-9].max() == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("space", ["ofa", "wide"])
@given(seed=seeds, epsilon=st.floats(1e-4, 0.3))
@settings(max_examples=25, deadline=None)
def test_thinning_loses_no_more_than_it_says(searching, space: str, seed: int, epsilon: float) -> None:
    problem = searching.make_problem(seed, space=space)
    accuracy = searching.random_additive(problem.space.family, np.random.default_rng(seed + 1))
    exact = programme.solve(problem, problem.additive_costs[0], accuracy, 0, epsilon=0.0)
    thin = programme.solve(problem, problem.additive_costs[0], accuracy, 0, epsilon=epsilon)
    for latency, best in zip(exact.cost, exact.accuracy, strict=True):
        reached = thin.accuracy[thin.cost <= latency + 1e-9].max()
        assert best - reached <= (len(problem.space.shapes) - 1) * epsilon + 1e-9


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40))
def test_nondominated_is_what_its_definition_says(points: list[tuple[int, int]]) -> None:
    latency, accuracy = np.array(points, dtype=float).T
    index = programme.nondominated(latency, accuracy)
    found = [(latency[i], accuracy[i]) for i in index]
    assert found == [tuple(point) for point in brute_force(latency, accuracy)]
