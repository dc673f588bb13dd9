"""Sampling, mutation and neighbourhoods stay inside the space."""

from __future__ import annotations

import numpy as np
import pytest

from compofa.families import GLYPHS
from compofa.genotype import decode
from compofa.spaces import get_space


@pytest.mark.parametrize("space", ["ofa", "compofa-elastic"])
def test_what_is_drawn_is_in_the_space(searching, space: str) -> None:
    problem, rng = searching.make_problem(1, space=space), np.random.default_rng(0)
    drawn = problem.sample(200, rng)
    mutants = problem.mutate(drawn, 0.3, rng)
    nudged = problem.nudge(drawn, 0.5, rng)
    for arch in decode(problem.space.family, np.concatenate([drawn, mutants, nudged])):
        problem.space.check(arch)
    assert len(np.unique(drawn, axis=0)) > 150
    assert 0 < (mutants != drawn).any(1).mean() < 1
    assert set((nudged != drawn).sum(1).tolist()) == {0, 1}


@pytest.mark.parametrize("space", ["ofa", "compofa-elastic"])
def test_near_ways_differ_in_one_slot_or_in_depth_alone(searching, space: str) -> None:
    problem = searching.make_problem(1, space=space)
    for unit, rows in enumerate(problem.units):
        for mine in rows[::5]:
            one_slot = np.flatnonzero((rows != mine).sum(1) == 1)
            near = problem.near(unit, mine)
            assert set(one_slot) <= set(near.tolist())
            assert (rows[near] != mine).any(1).all()
            if space == "ofa":
                assert len(near) == len(one_slot)
            else:  # every depth can be reached
                assert set((rows[near] > 0).sum(1)) | {int((mine > 0).sum())} == {2, 3, 4}


def test_unit_genotypes_are_the_units_choices() -> None:
    for name in ("ofa", "compofa", "compofa-elastic"):
        space = get_space(name, GLYPHS)
        rows = space.unit_genotypes(1)
        assert rows.shape == (space.unit_size(1), GLYPHS.max_depth)
        whole = np.hstack([np.zeros((len(rows), 1), np.int16), *[rows] * len(GLYPHS.units)])
        assert [arch.units[1] for arch in decode(GLYPHS, whole)] == list(space.unit_choices(1))
