"""Subnets of a space of which none was measured, with the accuracies that a predictor gives them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compofa.errors import InputError
from compofa.spaces.layout import Genotypes, encode
from compofa.spaces.space import Space
from hwbench.accuracy_source import AccuracySource
from hwbench.frontiers.cloud import Cloud
from hwbench.searching.engine import ENUMERABLE
from hwbench.telling import note
from lut.costs import CostModel

RANDOM_SUBNETS = 5_000
"""Drawn where a space cannot be enumerated."""


def known_resolutions(source: AccuracySource, covered: Sequence[int]) -> list[int]:
    """Those of the table, `covered`, that accuracies are known at; says which are not.

    Raises:
        InputError: there are none.
    """
    known = [r for r in covered if r in source.resolutions]
    theirs = ", ".join(map(str, source.resolutions))
    if not known:
        raise InputError(
            f"nothing is known of accuracies at {', '.join(map(str, covered))} px, which the table is of: those of "
            f"{source.path} are of {theirs} px only"
        )
    if unknown := [str(r) for r in covered if r not in known]:
        note(f"nothing is known of accuracies at {', '.join(unknown)} px: only {theirs} px is shown")
    return known


def predicted_cloud(
    space: Space,
    cost: CostModel,
    source: AccuracySource,
    resolutions: Sequence[int],
    seed: int,
) -> tuple[Cloud, bool]:
    """All subnets of a small space, or random ones of a large one, and whether they are all; with the accuracies to
    expect of those that a frontier picks.

    Args:
        space: whose subnets.
        cost: what they cost.
        source: of the accuracies.
        resolutions: in pixels.
        seed: of the random ones.
    """
    complete = space.count(resolutions) <= ENUMERABLE and space.is_enumerable
    if complete:
        at = [i for i, r in enumerate(space.family.resolutions) if r in resolutions]
        every = space.enumerate_genotypes()
        genotypes = every[np.isin(every[:, 0], at)]
    else:
        genotypes = random_genotypes(space, resolutions, seed)
    return Cloud(space.family, genotypes, cost.predict(genotypes), source.after_pick(genotypes)), complete


def random_genotypes(space: Space, resolutions: Sequence[int], seed: int) -> Genotypes:
    """:data:`RANDOM_SUBNETS` random subnets of a space at some resolutions, shape (n, columns)."""
    rng = np.random.default_rng(seed)
    drawn = [space.sample(rng, int(rng.choice(resolutions))) for _ in range(RANDOM_SUBNETS)]
    return encode(space.family, drawn)


def describe_source(source: AccuracySource) -> str:
    """What predicted accuracies are of and how good they are, in words."""
    words = f"predicted, {source.of}"
    if source.error is not None:
        words += f"; off by {100 * source.error:.2f} points in the mean on subnets that were not fitted"
    report = source.predictor.report if source.predictor else {}
    if "intervals" in report:
        words += f", 90 % of them within {100 * report['intervals']['half_width_90']:.2f}"
    return words
