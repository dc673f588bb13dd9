"""Families cut down until every subnet can be looked at, with random latencies and accuracies."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from cut_families import cut

from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout
from compofa.spaces.registry import FAMILIES, GLYPHS
from compofa.spaces.space import get_space
from hwbench.searching.problem import Floats, Problem
from lut.lookup import Lookup

SMALL = cut(GLYPHS, units=3, resolutions=(16, 32), depths=(1, 2), kernel=(3, 5), expand=(3, 6))
"""20 ways to fill each of three units, two resolutions: 16,000 subnets."""
COUPLED = cut(GLYPHS, units=3, resolutions=(16, 32), kernel=(3, 5))
"""The same for coupled spaces: 28 ways to fill a unit."""
WIDE = cut(FAMILIES["glyphs-resnet"], units=4, resolutions=(16, 32), depths=(1, 2), expand=(0.2, 0.35))
"""Units of three widths each: 34,992 subnets."""
FAMILY_OF = {"ofa": SMALL, "wide": WIDE}


def random_additive(family: Family, rng: np.random.Generator, steps: int = 0) -> Lookup:
    """Random values, on a grid of `steps` if given so that many subnets tie."""
    at = layout(family)
    slots = rng.random((at.contexts, at.slots, 1 + at.max_choices))
    slots = np.floor(slots * steps) / steps if steps else slots
    slots[:, :, 0] = 0
    return Lookup(family, rng.random(len(family.resolutions)), slots)


@dataclass(frozen=True)
class Sum:
    """A cost that is what `lookup` says."""

    lookup: Lookup
    unit = "ms"

    def predict(self, genotypes: Genotypes) -> Floats:
        return self.lookup.predict(genotypes)

    def as_lookup(self) -> Lookup:
        return self.lookup


def make_problem(
    seed: int, bend: float = 0.0, targets: int = 1, steps: int = 0, space: str = "ofa"
) -> Problem:
    """A problem of the small family, whose accuracy is additive but for `bend`."""
    rng = np.random.default_rng(seed)
    family = FAMILY_OF.get(space, COUPLED)
    tables = [random_additive(family, rng, steps) for _ in range(targets)]
    gain = random_additive(family, rng, steps)
    columns = layout(family).columns - 1
    twist = rng.standard_normal((columns, columns))

    def accuracy(genotypes: np.ndarray) -> Floats:
        choice = genotypes[:, 1:] / 4
        return gain.predict(genotypes) / 10 + bend * np.tanh(((choice @ twist) * choice).sum(1))

    return Problem(
        get_space("ofa" if space == "wide" else space, family), tuple(map(Sum, tables)), accuracy, (0, 1)
    )


@pytest.fixture(scope="session")
def searching() -> SimpleNamespace:
    """The helpers of this file."""
    return SimpleNamespace(random_additive=random_additive, make_problem=make_problem, Sum=Sum)
