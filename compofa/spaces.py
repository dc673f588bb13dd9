"""Design spaces: rules for which subnets of a family may be built."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from compofa.arch import (
    Arch,
    BlockChoice,
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
from compofa.genotype import Genotypes, block_choices, used_choices


@dataclass(frozen=True)
class Space:
    """A rule over a family: per unit, which block choices may stand together; less what cannot run.

    The rule is the same for every unit but for a fixed kernel, so it is held as (depth, expands, kernels)
    triples: a unit of that depth takes any of the expands and kernels in each of its blocks, all blocks
    alike where depth and expand ratio are coupled.

    Args:
        name: as given to ``--space``.
        family: whose subnets.
        compound: depth and expand ratio are coupled, as in CompOFA.
        fixed_kernel: each unit has one kernel.
        forbidden: blocks that no subnet of the space may have (:meth:`without`).

    Raises:
        InputError: the family has not what the rule speaks of.
    """

    name: str
    family: Family
    compound: bool
    fixed_kernel: bool
    forbidden: frozenset[Block] = frozenset()

    def __post_init__(self) -> None:
        if self.compound:
            coupling(self.family)
        if self.fixed_kernel:
            for u, unit in enumerate(self.family.units, start=1):
                if unit.fixed_kernel not in self.family.kernels:
                    raise InputError(
                        f"space {self.name} fixes the kernel of unit {u} to {unit.fixed_kernel}, which is not among "
                        f"the kernels {self.family.kernels} of family {self.family.name}"
                    )

    # --- the rule ---

    def _unit_shapes(self) -> list[tuple[int, tuple[int, ...]]]:
        """(depth, expand ratios any block may have at that depth) of a unit."""
        if self.compound:
            return [(depth, (expand,)) for depth, expand in coupling(self.family)]
        return [(depth, self.family.expands) for depth in self.family.depths]

    def _kernels(self, unit: int) -> tuple[int, ...]:
        return (self.family.units[unit].fixed_kernel,) if self.fixed_kernel else self.family.kernels

    def unit_size(self, unit: int) -> int:
        """How many ways there are to fill `unit`, by the rule."""
        kernels = len(self._kernels(unit))
        return sum((kernels * len(expands)) ** depth for depth, expands in self._unit_shapes())

    def size(self) -> int:
        """Subnets at one resolution, by the rule: what cannot run is among them (:meth:`count` leaves it out)."""
        return math.prod(self.unit_size(unit) for unit in range(len(self.family.units)))

    def unit_choices(self, unit: int) -> Iterator[UnitChoice]:
        """Every way to fill `unit`, by the rule."""
        for depth, expands in self._unit_shapes():
            block = list(itertools.product(self._kernels(unit), expands))
            yield from itertools.product(block, repeat=depth)

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

    def used_choices(self) -> NDArray[np.bool_]:
        """Which choices of each slot the rule has, as :func:`compofa.genotype.used_choices` tells them."""
        family = self.family
        rows = [self.unit_genotypes(unit) for unit in range(len(family.units))]
        longest = max(map(len, rows))
        # Units side by side, the shorter lists gone through again: which of them meet does not matter.
        parts = [np.resize(unit, (longest, family.max_depth)) for unit in rows]
        return used_choices(family, np.hstack([np.zeros((longest, 1), dtype=np.int16), *parts]))

    # --- what cannot run ---

    def without(self, blocks: Iterable[Block]) -> Space:
        """The space less all subnets that have any of `blocks`."""
        return replace(self, forbidden=self.forbidden | frozenset(blocks))

    @cached_property
    def runs(self) -> NDArray[np.bool_]:
        """Whether each choice of each slot can run, shape (resolutions, slots, 1 + choices); an inactive slot
        can. Where a block that every subnet has is forbidden, nothing of that resolution can."""
        family = self.family
        choices = block_choices(family)
        found = np.ones((len(family.resolutions), family.slots, 1 + len(choices)), dtype=np.bool_)
        if not self.forbidden:
            return found
        for r, resolution in enumerate(family.resolutions):
            if self.forbidden.intersection(head_blocks(family, resolution) + tail_blocks(family, resolution)):
                found[r] = False
                continue
            for slot, (c, choice) in itertools.product(range(family.slots), enumerate(choices, start=1)):
                block = slot_block(family, resolution, *divmod(slot, family.max_depth), *choice)
                found[r, slot, c] = block not in self.forbidden
        return found

    def _ways(self, resolution: int, unit: int) -> list[list[list[BlockChoice]]]:
        """For each depth at which `unit` can be filled: what each of its blocks may be."""
        family = self.family
        number = {choice: i for i, choice in enumerate(block_choices(family), start=1)}
        mine = self.runs[family.resolutions.index(resolution), unit * family.max_depth :]
        ways = []
        for depth, expands in self._unit_shapes():
            block = list(itertools.product(self._kernels(unit), expands))
            way = [[choice for choice in block if mine[p, number[choice]]] for p in range(depth)]
            if mine[0, 0] and all(way):
                ways.append(way)
        return ways

    def count(self, resolutions: Sequence[int] | None = None) -> int:
        """Subnets that can run, at the given resolutions (all unless given).

        Raises:
            ValueError: the family has not one of the resolutions.
        """
        total = 0
        for resolution in self.family.resolutions if resolutions is None else resolutions:
            self.family.check_resolution(resolution)
            total += math.prod(
                sum(math.prod(map(len, way)) for way in self._ways(resolution, unit))
                for unit in range(len(self.family.units))
            )
        return total

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Those of the family at which some subnet can run, ascending."""
        return tuple(r for r in self.family.resolutions if self.count((r,)))

    def can_run(self, genotypes: Genotypes) -> NDArray[np.bool_]:
        """Which subnets of the rule, genotypes (n, 1 + slots), can run; shape (n,)."""
        if not self.forbidden:
            return np.ones(len(genotypes), dtype=np.bool_)
        slots = np.arange(self.family.slots)
        fits: NDArray[np.bool_] = np.all(self.runs[genotypes[:, :1], slots, genotypes[:, 1:]], axis=1)
        return fits

    # --- subnets ---

    def enumerate(self, resolutions: Sequence[int] | None = None) -> Iterator[Arch]:
        """Every subnet, resolution by resolution (the family's, unless given).

        Raises:
            ValueError: the family has not one of the resolutions.
        """
        for resolution in resolutions or self.family.resolutions:
            self.family.check_resolution(resolution)
            per_unit = [
                [choice for way in self._ways(resolution, unit) for choice in itertools.product(*way)]
                for unit in range(len(self.family.units))
            ]
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
        every = np.hstack([part[i] for part, i in zip(parts, index, strict=True)])
        return every[self.can_run(every)] if self.forbidden else every

    def sample(self, rng: np.random.Generator, resolution: int | None = None) -> Arch:
        """A random subnet: depth, then each block's kernel and expand, uniform over their choices (as
        the papers draw them, which is not uniform over subnets); the resolution too unless given.

        Raises:
            InputError: no subnet can run there.
        """
        if resolution is None:
            resolution = int(rng.choice(self.resolutions if self.forbidden else self.family.resolutions))
        self.family.check_resolution(resolution)
        units = range(len(self.family.units))
        return Arch(resolution, tuple(self.sample_unit(rng, u, resolution) for u in units))

    def sample_unit(self, rng: np.random.Generator, unit: int, resolution: int) -> UnitChoice:
        """A random way to fill `unit`.

        Raises:
            InputError: there is none that can run.
        """
        if self.forbidden:
            ways = self._ways(resolution, unit)
            if not ways:
                raise InputError(f"no subnet of space {self.name} can run at {resolution} px")
            return tuple(block[rng.integers(len(block))] for block in ways[rng.integers(len(ways))])
        shapes = self._unit_shapes()
        depth, expands = shapes[rng.integers(len(shapes))]
        kernels = self._kernels(unit)
        return tuple((int(rng.choice(kernels)), int(rng.choice(expands))) for _ in range(depth))

    def mutate(self, arch: Arch, rng: np.random.Generator, probability: float = 0.1) -> Arch:
        """`arch` with its resolution and each unit drawn anew with `probability`; as it was if that cannot run."""
        self.check(arch)
        resolution = arch.resolution
        if rng.random() < probability:
            resolution = int(rng.choice(self.resolutions if self.forbidden else self.family.resolutions))
        units = tuple(
            self.sample_unit(rng, u, resolution) if rng.random() < probability else unit
            for u, unit in enumerate(arch.units)
        )
        mutant = Arch(resolution, units)
        return mutant if self.contains(mutant) else arch

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
        if self.forbidden:
            for block in arch_blocks(self.family, arch):
                if block in self.forbidden:
                    raise InvalidArch(f"{arch}: {block} cannot run")

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
            if resolution not in self.resolutions:
                continue
            found.update(dict.fromkeys(head_blocks(family, resolution)))
            for unit in range(len(family.units)):
                for way in self._ways(resolution, unit):
                    for position, block in enumerate(way):
                        for choice in block:
                            found[slot_block(family, resolution, unit, position, *choice)] = None
            found.update(dict.fromkeys(tail_blocks(family, resolution)))
        return tuple(found)


def coupling(family: Family) -> tuple[tuple[int, int], ...]:
    """CompOFA's coupling, the (depth, expand ratio) that a unit may have: the shallowest unit has the smallest
    ratio, the next the next (Sahni et al., arXiv:2104.12642, section 3.2).

    Raises:
        InputError: the family has not as many depths as expand ratios.
    """
    if len(family.depths) != len(family.expands):
        raise InputError(
            f"CompOFA couples the depths of a family with its expand ratios, one with one: {family.name} has "
            f"{len(family.depths)} depths {family.depths} and {len(family.expands)} expand ratios {family.expands}"
        )
    return tuple(zip(sorted(family.depths), sorted(family.expands), strict=True))


SPACES = ("ofa", "compofa", "compofa-elastic")


def get_space(name: str, family: Family) -> Space:
    """The space called `name` over `family`.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in SPACES:
        raise InputError(f"unknown space {name!r}; there are {', '.join(SPACES)}")
    return Space(name, family, compound=name != "ofa", fixed_kernel=name == "compofa")
