"""What an accuracy predictor looks at: the one-hot subnet, and what is made of it.

Every kind begins with :func:`compofa.spaces.features.one_hot`, the inputs of OFA's published predictors, over which a
layer is only a sum of rows; ``more`` is what it has beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from compofa.spaces.family import Family, Unit
from compofa.spaces.features import feature_count, one_hot
from compofa.spaces.layout import Genotypes, layout

Features = NDArray[np.float32]
SMOOTHNESS = 2.0
"""Length scale of the kernel, in the root mean square of the differences of all capacities, each of which goes from
-1 to 1: so long that the kernel bends a straight line and does little else. Of 0.5 to 3 the best on ImageNet and
glyphs."""
SHARED = 0.5
"""Part of the kernel between two resolutions that is the same at both."""


class Inputs(Protocol):
    """A kind of inputs, over the resolutions of the family that it is given."""

    @property
    def name(self) -> str:
        """As a file says it."""

    def groups(self, family: Family) -> tuple[int, ...]:
        """How many inputs of each sort there are beside :func:`one_hot`'s, in the order of :meth:`more`."""

    def more(self, family: Family, genotypes: Genotypes) -> Features:
        """The inputs beside :func:`one_hot`'s, shape (n, inputs), of genotypes (n, columns)."""


@dataclass(frozen=True)
class OneHot:
    """Nothing beside the one-hot subnet."""

    name: str = "one-hot"

    def groups(self, family: Family) -> tuple[int, ...]:
        return ()

    def more(self, family: Family, genotypes: Genotypes) -> Features:
        return np.zeros((len(genotypes), 0), dtype=np.float32)


@dataclass(frozen=True)
class OneHotByResolution:
    """Half as large, each one-hot input once for each resolution, zero at the others: what each resolution adds to an
    effect that all share."""

    name: str = "one-hot-by-resolution"

    def groups(self, family: Family) -> tuple[int, ...]:
        sides = len(family.resolutions)
        return ((feature_count(family) + sides) * sides,)

    def more(self, family: Family, genotypes: Genotypes) -> Features:
        shared = one_hot(family, genotypes)
        at = np.eye(len(family.resolutions), dtype=np.float32)[genotypes[:, 0]]
        return 0.5 * (shared[:, None, :] * at[:, :, None]).reshape(len(shared), -1)


@dataclass(frozen=True, eq=False)
class Capacities:
    """What an additive model lacks: how each effect changes with the resolution, the capacity of each unit, and how
    near these are, by a Gaussian kernel, to those of some anchors, since one more block adds the less the more there
    are.

    The kernel's weights make a Gaussian process with inducing points (Quinonero-Candela & Rasmussen, JMLR 6, 2005).

    Args:
        anchors: subnets, shape (anchors, columns), by the resolutions of the family that the inputs are asked for.
    """

    anchors: Genotypes
    name: str = "capacities"

    def groups(self, family: Family) -> tuple[int, ...]:
        bent = 2 * feature_count(family) if len(family.resolutions) > 1 else 0
        return bent, capacities(family, self.anchors[:1]).shape[1], len(self.anchors)

    def more(self, family: Family, genotypes: Genotypes) -> Features:
        mine = capacities(family, genotypes)
        bent = _by_resolution(family, genotypes)
        return np.hstack([*bent, mine, self._kernel(family, mine, genotypes)])

    def kernel(self, family: Family) -> NDArray[np.float64]:
        """Of the anchors with one another, shape (anchors, anchors)."""
        mine = capacities(family, self.anchors)
        return self._kernel(family, mine, self.anchors).astype(np.float64)

    def _kernel(self, family: Family, mine: Features, genotypes: Genotypes) -> Features:
        theirs = capacities(family, self.anchors)
        squares = (mine**2).sum(1)[:, None] + (theirs**2).sum(1) - 2 * mine @ theirs.T
        near = np.exp(squares / (-2 * SMOOTHNESS**2 * max(mine.shape[1], 1)))
        same = genotypes[:, 0][:, None] == self.anchors[:, 0]
        found: Features = np.where(same, near, SHARED * near)
        return found


def _by_resolution(family: Family, genotypes: Genotypes) -> Sequence[Features]:
    """One-hot slots times the logarithm of the resolution, from -1 to 1, and times its square; none if there is but one
    resolution."""
    if len(family.resolutions) == 1:
        return ()
    level = np.log(np.array(family.resolutions, dtype=np.float32))
    level = (2 * level - level.min() - level.max()) / np.ptp(level)
    slots = one_hot(family, genotypes)[:, : feature_count(family)]
    each = level[genotypes[:, 0], None]
    return slots * each, slots * each**2


def capacities(family: Family, genotypes: Genotypes) -> Features:
    """What each unit has: its number of blocks, the sum over them of each thing that is chosen (kernels, expand
    ratios), its width; each from -1 (the least that the family allows) to 1; shape (n, capacities)."""
    at = layout(family)
    found = []
    for number, unit in enumerate(at.units):
        chosen = genotypes[:, at.place(number)]
        for values in _worth(unit):
            least, most = min(unit.depths) * values[1:].min(), max(unit.depths) * values[1:].max()
            if most > least:
                found.append((2 * values[chosen].sum(1) - least - most) / (most - least))
        if (column := at.width_column(number)) is not None:
            found.append(np.linspace(-1, 1, at.width_count(number))[genotypes[:, column]])
    return np.column_stack(found or [np.zeros((len(genotypes), 0))]).astype(np.float32)


def _worth(unit: Unit) -> Sequence[NDArray[np.float64]]:
    """What each choice of a slot adds, 0 for none: to the number of blocks, then to the sum of each axis."""
    each = [np.ones(len(unit.choices))]
    each += [np.array([choice[i] for choice in unit.choices], float) for i in range(len(unit.axes))]
    return [np.concatenate([[0.0], values]) for values in each]


KINDS: dict[str, Inputs] = {inputs.name: inputs for inputs in (OneHot(), OneHotByResolution())}
"""Those that need no anchors."""


def get_inputs(name: object, anchors: Genotypes | None) -> Inputs:
    """The inputs that a file names.

    Raises:
        InputError: there are none of that name, or they lack their anchors.
    """
    if name == Capacities.name and anchors is not None:
        return Capacities(anchors)
    if name in KINDS:
        return KINDS[str(name)]
    raise InputError("an accuracy predictor of another version of hwbench")


def all_inputs(inputs: Inputs, family: Family, genotypes: Genotypes) -> Features:
    """One-hot and more, shape (n, inputs)."""
    return np.hstack([one_hot(family, genotypes), inputs.more(family, genotypes)])


def input_count(inputs: Inputs, family: Family) -> int:
    """Columns of :func:`all_inputs`."""
    return feature_count(family) + len(family.resolutions) + sum(inputs.groups(family))
