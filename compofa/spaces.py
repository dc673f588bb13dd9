"""Design spaces: rules for which subnets of a family may be built."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from compofa.arch import (
    Arch,
    InvalidArch,
    UnitChoice,
    arch_blocks,
    check_arch,
    head_blocks,
    slot_block,
    tail_blocks,
)
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.families import Family
from compofa.genotype import Genotypes, block_choices

COMPOUND: tuple[tuple[int, int], ...] = ((2, 3), (3, 4), (4, 6))
"""CompOFA's coupling: the (depth, expand ratio) a unit may have."""


@dataclass(frozen=True)
class Space:
    """A rule over a family: per unit, which block choices may stand together.

    The rule is the same for every unit but for a fixed kernel, so it is held as (depth, expands, kernels)
    triples: a unit of that depth takes any of the expands and kernels in each of its blocks, all blocks
    alike when `uniform_expand`.
    """

    name: str
    family: Family
    compound: bool
    fixed_kernel: bool

    def _unit_shapes(self) -> list[tuple[int, tuple[int, ...]]]:
        """(depth, expand ratios any block may have at that depth) of a unit."""
        if self.compound:
            return [(depth, (expand,)) for depth, expand in COMPOUND]
        return [(depth, self.family.expands) for depth in self.family.depths]

    def _kernels(self, unit: int) -> tuple[int, ...]:
        return (self.family.units[unit].fixed_kernel,) if self.fixed_kernel else self.family.kernels

    def unit_size(self, unit: int) -> int:
        """How many ways there are to fill `unit`."""
        kernels = len(self._kernels(unit))
        return sum((kernels * len(expands)) ** depth for depth, expands in self._unit_shapes())

    def size(self) -> int:
        """Subnets at one resolution."""
        total = 1
        for unit in range(len(self.family.units)):
            total *= self.unit_size(unit)
        return total

    def unit_choices(self, unit: int) -> Iterator[UnitChoice]:
        """Every way to fill `unit`."""
        for depth, expands in self._unit_shapes():
            block = list(itertools.product(self._kernels(unit), expands))
            yield from itertools.product(block, repeat=depth)

    def enumerate(self, resolutions: Sequence[int] | None = None) -> Iterator[Arch]:
        """Every subnet, resolution by resolution (the family's, unless given).

        Raises:
            ValueError: the family has not one of the resolutions.
        """
        for resolution in resolutions or self.family.resolutions:
            self.family.check_resolution(resolution)
            per_unit = (list(self.unit_choices(unit)) for unit in range(len(self.family.units)))
            for units in itertools.product(*per_unit):
                yield Arch(resolution, units)

    def enumerate_genotypes(self) -> Genotypes:
        """Every subnet at every resolution, in the order of :meth:`enumerate`, shape (n, 1 + slots).

        Raises:
            ValueError: the space is too large to hold (above 10 million subnets).
        """
        family = self.family
        count = self.size() * len(family.resolutions)
        if count > 10_000_000:
            raise InputError(f"{self.name} on {family.name} has {count:.1e} subnets: too many to enumerate")
        parts = [np.arange(len(family.resolutions), dtype=np.int16)[:, None]]
        parts += [self.unit_genotypes(unit) for unit in range(len(family.units))]
        index = np.indices([len(part) for part in parts], dtype=np.int32).reshape(len(parts), -1)
        return np.hstack([part[i] for part, i in zip(parts, index, strict=True)])

    def unit_genotypes(self, unit: int) -> Genotypes:
        """Every way to fill `unit`, in the order of :meth:`unit_choices`, shape (unit_size, max_depth)."""
        family = self.family
        number = {choice: i for i, choice in enumerate(block_choices(family), start=1)}
        parts = []
        for depth, expands in self._unit_shapes():
            block = [number[choice] for choice in itertools.product(self._kernels(unit), expands)]
            index = np.indices((len(block),) * depth).reshape(depth, -1)
            rows = np.zeros((index.shape[1], family.max_depth), dtype=np.int16)
            rows[:, :depth] = np.array(block, dtype=np.int16)[index.T]
            parts.append(rows)
        return np.concatenate(parts)

    def sample(self, rng: np.random.Generator, resolution: int | None = None) -> Arch:
        """A random subnet: depth, then each block's kernel and expand, uniform over their choices (as
        the papers draw them, which is not uniform over subnets); the resolution too unless given."""
        if resolution is None:
            resolution = int(rng.choice(self.family.resolutions))
        self.family.check_resolution(resolution)
        return Arch(resolution, tuple(self.sample_unit(rng, u) for u in range(len(self.family.units))))

    def sample_unit(self, rng: np.random.Generator, unit: int) -> UnitChoice:
        """A random way to fill `unit`."""
        shapes = self._unit_shapes()
        depth, expands = shapes[rng.integers(len(shapes))]
        kernels = self._kernels(unit)
        return tuple((int(rng.choice(kernels)), int(rng.choice(expands))) for _ in range(depth))

    def mutate(self, arch: Arch, rng: np.random.Generator, probability: float = 0.1) -> Arch:
        """`arch` with its resolution and each unit drawn anew with `probability`."""
        self.check(arch)
        resolution = arch.resolution
        if rng.random() < probability:
            resolution = int(rng.choice(self.family.resolutions))
        units = tuple(
            self.sample_unit(rng, u) if rng.random() < probability else unit
            for u, unit in enumerate(arch.units)
        )
        return Arch(resolution, units)

    def contains(self, arch: Arch) -> bool:
        """Whether `arch` is a subnet of this space."""
        try:
            self.check(arch)
        except InvalidArch:
            return False
        return True

    def check(self, arch: Arch) -> None:
        """Raise InvalidArch, with the reason, unless `arch` is in this space."""
        check_arch(self.family, arch)
        shapes = dict(self._unit_shapes())
        for u, unit in enumerate(arch.units):
            for kernel, expand in unit:
                if expand not in shapes[len(unit)] or kernel not in self._kernels(u):
                    raise InvalidArch(f"{arch}: unit {u + 1} does not follow the rule of space {self.name}")

    def blocks(self, arch: Arch) -> tuple[Block, ...]:
        """The network of `arch`.

        Raises:
            InvalidArch: the space does not hold `arch`.
        """
        self.check(arch)
        return arch_blocks(self.family, arch)

    def all_blocks(self, resolutions: Sequence[int] | None = None) -> tuple[Block, ...]:
        """Every distinct block that some subnet of the space uses, at the given resolutions (all unless
        given), in a fixed order.

        Raises:
            ValueError: the family has not one of the resolutions.
        """
        family = self.family
        found: dict[Block, None] = {}
        for resolution in resolutions or family.resolutions:
            family.check_resolution(resolution)
            found.update(dict.fromkeys(head_blocks(family, resolution)))
            for unit in range(len(family.units)):
                for depth, expands in self._unit_shapes():
                    for position, kernel, expand in itertools.product(
                        range(depth), self._kernels(unit), expands
                    ):
                        found[slot_block(family, resolution, unit, position, kernel, expand)] = None
            found.update(dict.fromkeys(tail_blocks(family, resolution)))
        return tuple(found)


SPACES = ("ofa", "compofa", "compofa-elastic")


def get_space(name: str, family: Family) -> Space:
    """The space called `name` over `family`.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in SPACES:
        raise InputError(f"unknown space {name!r}; there are {', '.join(SPACES)}")
    return Space(name, family, compound=name != "ofa", fixed_kernel=name == "compofa")
