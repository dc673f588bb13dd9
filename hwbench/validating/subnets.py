"""Random subnets to measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compofa.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from compofa.spaces.arch import Arch
    from compofa.spaces.space import Space
    from lut.table import Table


def draw_subnets(table: Table, space: Space, count: int, rng: np.random.Generator) -> tuple[Arch, ...]:
    """`count` distinct random subnets of `space`, at the resolutions that the table covers in full.

    Raises:
        ValueError: the table covers no resolution, or the space has fewer subnets, or `count` is too small.
    """
    space = space.without(table.failures)
    resolutions = tuple(r for r in table.complete_resolutions(space) if r in space.resolutions)
    if not resolutions:
        raise InputError(f"the table covers space {space.name} at no resolution; finish it with build_lut")
    return draw_at(resolutions, space, count, rng)


def draw_at(
    resolutions: Sequence[int], space: Space, count: int, rng: np.random.Generator
) -> tuple[Arch, ...]:
    """`count` distinct random subnets of `space` at the given resolutions.

    Raises:
        InputError: the space has fewer subnets, or `count` is too small.
    """
    from lut.calibration import MIN_NETWORKS

    most = space.count(resolutions)
    if not MIN_NETWORKS <= count <= most:
        raise InputError(f"--subnets must be {MIN_NETWORKS} to {most} here, not {count}")
    if most <= 10 * count:
        everything = list(space.enumerate(resolutions))
        return tuple(everything[i] for i in rng.permutation(most)[:count])
    found: dict[Arch, None] = {}
    while len(found) < count:  # ends: less than a tenth of the space is wanted
        found[space.sample(rng, int(rng.choice(resolutions)))] = None
    return tuple(found)
