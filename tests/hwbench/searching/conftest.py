"""Families cut down until every subnet can be looked at, with random latencies and accuracies."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from compofa.families import GLYPHS, Family
from compofa.spaces import get_space
from hwbench.searching.additive import Additive
from hwbench.searching.problem import Floats, Problem
from lut.lookup import Lookup

SMALL = replace(
    GLYPHS, units=GLYPHS.units[:3], resolutions=(16, 32), depths=(1, 2), kernels=(3, 5), expands=(3, 6)
)
"""20 ways to fill each of three units, two resolutions: 16,000 subnets."""
COUPLED = replace(GLYPHS, units=GLYPHS.units[:3], resolutions=(16, 32), kernels=(3, 5))
"""The same for coupled spaces: 28 ways to fill a unit."""


def random_additive(family: Family, rng: np.random.Generator, steps: int = 0) -> Additive:
    """Random values, on a grid of `steps` if given so that many subnets tie."""
    choices = 1 + len(family.kernels) * len(family.expands)
    slots = rng.random((len(family.resolutions), family.slots, choices))
    slots = np.floor(slots * steps) / steps if steps else slots
    slots[:, :, 0] = 0
    return Additive(rng.random(len(family.resolutions)), slots)


def make_problem(
    seed: int, bend: float = 0.0, targets: int = 1, steps: int = 0, space: str = "ofa"
) -> Problem:
    """A problem of the small family, whose accuracy is additive but for `bend`."""
    rng = np.random.default_rng(seed)
    family = SMALL if space == "ofa" else COUPLED
    tables = [random_additive(family, rng, steps) for _ in range(targets)]
    gain = random_additive(family, rng, steps)
    twist = rng.standard_normal((family.slots, family.slots))

    def accuracy(genotypes: np.ndarray) -> Floats:
        choice = genotypes[:, 1:] / 4
        return gain(genotypes) / 10 + bend * np.tanh(((choice @ twist) * choice).sum(1))

    lookups = tuple(Lookup(family, table.fixed, table.slots) for table in tables)
    return Problem(get_space(space, family), lookups, accuracy, (0, 1))


@pytest.fixture(scope="session")
def searching() -> SimpleNamespace:
    """The helpers of this file."""
    return SimpleNamespace(random_additive=random_additive, make_problem=make_problem)
