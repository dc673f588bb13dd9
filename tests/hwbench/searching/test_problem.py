"""Sampling, mutation and neighbourhoods stay inside the space."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from compofa.spaces.layout import decode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space


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


@pytest.mark.parametrize("space", ["ofa", "wide", "compofa-elastic"])
def test_near_ways_differ_in_one_slot_or_in_depth_alone(searching, space: str) -> None:
    problem = searching.make_problem(1, space=space)
    for unit in range(len(problem.space.shapes)):
        rows = problem.space.unit_genotypes(unit)
        for mine in rows[::5]:
            one_slot = set(map(tuple, rows[(rows != mine).sum(1) == 1].tolist()))
            near = problem.near(unit, mine)
            assert one_slot <= set(map(tuple, near.tolist())) <= set(map(tuple, rows.tolist()))
            assert (near != mine).any(1).all()
            if space != "compofa-elastic":
                assert len(near) == len(one_slot)
            else:  # every depth can be reached
                assert set((near > 0).sum(1)) | {int((mine > 0).sum())} == {2, 3, 4}


def test_unit_genotypes_are_all_ways_to_fill_it() -> None:
    for name in ("ofa", "compofa", "compofa-elastic"):
        space = get_space(name, GLYPHS)
        rows = space.unit_genotypes(1)
        assert rows.shape == (space.unit_size(1), 4)
        whole = np.hstack([np.zeros((len(rows), 1), np.int16), *[rows] * len(GLYPHS.elastic_units)])
        ways = [
            way
            for depth, values in space.shapes[1]
            for way in itertools.product(itertools.product(*values), repeat=depth)
        ]
        assert [arch.units[1] for arch in decode(GLYPHS, whole)] == ways
