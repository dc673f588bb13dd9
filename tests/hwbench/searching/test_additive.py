"""Lookup accuracies are read off exactly, others approximated."""

from __future__ import annotations

import numpy as np
import pytest

from hwbench.searching import additive


@pytest.mark.parametrize("space", ["ofa", "compofa-elastic"])
def test_an_additive_accuracy_is_read_off(searching, space: str) -> None:
    problem = searching.make_problem(5, space=space)
    found = additive.extract(problem)
    assert found is not None
    genotypes = problem.space.enumerate_genotypes()
    np.testing.assert_allclose(found.predict(genotypes), problem.accuracy(genotypes), atol=1e-9)


def test_another_accuracy_is_not_taken_for_additive(searching) -> None:
    assert additive.extract(searching.make_problem(5, bend=0.01)) is None


def test_ridge_explains_most_of_a_nearly_additive_accuracy(searching) -> None:
    problem = searching.make_problem(6, bend=0.01)
    genotypes = problem.space.enumerate_genotypes()
    accuracy = problem.accuracy(genotypes)
    some = np.random.default_rng(0).permutation(len(genotypes))[:1000]
    family = problem.space.family
    surrogate = additive.fit(family, genotypes[some], accuracy[some], np.ones(1000))
    assert ((surrogate.predict(genotypes) - accuracy) ** 2).mean() < 0.1 * accuracy.var()


def test_weight_decides_what_is_fitted(searching) -> None:
    problem = searching.make_problem(7, bend=0.05)
    genotypes = problem.sample(400, np.random.default_rng(0))
    accuracy = problem.accuracy(genotypes)
    heavy = np.arange(400) < 100

    def error(weight: np.ndarray) -> float:
        surrogate = additive.fit(problem.space.family, genotypes, accuracy, weight)
        return float(np.abs(surrogate.predict(genotypes) - accuracy)[heavy].mean())

    assert error(np.where(heavy, 100.0, 1.0)) < error(np.ones(400))


def test_weighted_sums(searching) -> None:
    problem = searching.make_problem(8, targets=2)
    genotypes = problem.sample(50, np.random.default_rng(0))
    both = additive.weighted(problem.additive_costs, np.array([0.25, 2.0]))
    np.testing.assert_allclose(both.predict(genotypes), problem.costs_of(genotypes) @ [0.25, 2.0])
