"""Design spaces: rules for which subnets of a family may be built.

A subnet is an :class:`Arch`: a resolution and, per unit, the (kernel, expand ratio) of each active block.
For vectorised work a subnet is a row of small integers, its *genotype* (:func:`encode`): the resolution's
index in the family, then one choice per slot (unit x position): 0 for inactive, otherwise
``1 + expand_index * len(kernels) + kernel_index``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block, make_divisible
from compofa.families import Family

BlockChoice = tuple[int, int]
"""(kernel, expand ratio) of one elastic block."""
UnitChoice = tuple[BlockChoice, ...]
"""The active blocks of one unit."""
Genotypes = NDArray[np.int16]
"""Shape (subnets, 1 + slots)."""

COMPOUND: tuple[tuple[int, int], ...] = ((2, 3), (3, 4), (4, 6))
"""CompOFA's coupling: the (depth, expand ratio) a unit may have."""


class InvalidArch(ValueError):
    """A subnet that its family or space does not hold."""


@dataclass(frozen=True)
class Arch:
    """One subnet: input side in pixels and, per unit, (kernel, expand ratio) of each active block."""

    resolution: int
    units: tuple[UnitChoice, ...]

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(len(unit) for unit in self.units)

    def __str__(self) -> str:
        units = ("_".join(f"k{kernel}e{expand}" for kernel, expand in unit) for unit in self.units)
        return "-".join((f"r{self.resolution}", *units))

    @classmethod
    def parse(cls, text: str) -> Arch:
        """The subnet that `str` wrote, such as ``r32-k3e6_k5e4-k3e3_k3e3``.

        Raises:
            InvalidArch: the text is no subnet.
        """
        head, *units = text.strip().split("-")
        if not (match := re.fullmatch(r"r(\d+)", head)) or not units:
            raise InvalidArch(f"not a subnet: {text!r}; it reads like r32-k3e6_k5e4-k3e3_k3e3-...")
        return cls(int(match[1]), tuple(_parse_unit(unit, text) for unit in units))


def _parse_unit(unit: str, text: str) -> UnitChoice:
    matches = [re.fullmatch(r"k(\d+)e(\d+)", block) for block in unit.split("_")]
    if not all(matches):
        raise InvalidArch(f"not a subnet: {text!r}; its unit {unit!r} should read like k3e6_k5e4")
    return tuple((int(m[1]), int(m[2])) for m in matches if m)


def check_arch(family: Family, arch: Arch) -> None:
    """Raise InvalidArch unless `arch` is a subnet of `family`'s supernet."""
    if len(arch.units) != len(family.units):
        raise InvalidArch(f"{arch}: {family.name} has {len(family.units)} units, not {len(arch.units)}")
    try:
        family.check_resolution(arch.resolution)
    except ValueError as error:
        raise InvalidArch(f"{arch}: {error}") from error
    for unit in arch.units:
        if len(unit) not in family.depths:
            raise InvalidArch(f"{arch}: depth {len(unit)} is not among {family.depths}")
        for kernel, expand in unit:
            if kernel not in family.kernels or expand not in family.expands:
                raise InvalidArch(
                    f"{arch}: k{kernel}e{expand} is not of kernels {family.kernels}, expands {family.expands}"
                )


def extreme(family: Family, largest: bool, resolution: int | None = None) -> Arch:
    """The largest or the smallest subnet, at `resolution` or the largest or smallest one."""
    pick = max if largest else min
    block = (pick(family.kernels), pick(family.expands))
    unit = (block,) * pick(family.depths)
    return Arch(resolution or pick(family.resolutions), (unit,) * len(family.units))


# --- a subnet as blocks ---


def slot_block(family: Family, resolution: int, unit: int, position: int, kernel: int, expand: int) -> Block:
    """The elastic block at a slot: it depends on nothing but the slot, the resolution and its own choice."""
    spec = family.units[unit]
    first = position == 0
    width = family.width(spec.base_width)
    before = family.width(family.units[unit - 1].base_width if unit else family.stem_width)
    in_channels = before if first else width
    side = -(-resolution // family.stem_stride)
    for earlier in family.units[: unit if first else unit + 1]:
        side = -(-side // earlier.stride)
    return Block(
        kind="mbconv",
        in_shape=(in_channels, side, side),
        out_channels=width,
        hidden_channels=make_divisible(in_channels * expand),
        kernel=kernel,
        stride=spec.stride if first else 1,
        se=spec.se,
        act=spec.act,
        shortcut=not first,
    )


def head_blocks(family: Family, resolution: int) -> tuple[Block, ...]:
    """The stem convolution and the first, inelastic, inverted residual block."""
    stem_width = family.width(family.stem_width)
    stem = Block(
        "conv",
        (family.in_channels, resolution, resolution),
        stem_width,
        kernel=3,
        stride=family.stem_stride,
        act="hswish",
    )
    first = Block(
        "mbconv", stem.out_shape, stem_width, hidden_channels=stem_width, kernel=3, act="relu", shortcut=True
    )
    return stem, first


def tail_blocks(family: Family, resolution: int) -> tuple[Block, ...]:
    """Final expand, global pooling, feature mix and classifier."""
    side = -(-resolution // family.stem_stride)
    for unit in family.units:
        side = -(-side // unit.stride)
    expanded = family.width(family.final_expand_width)
    mixed = family.width(family.mix_width)
    return (
        Block("conv", (family.width(family.units[-1].base_width), side, side), expanded, act="hswish"),
        Block("pool", (expanded, side, side), expanded),
        Block("mix", (expanded, 1, 1), mixed, act="hswish"),
        Block("linear", (mixed, 1, 1), family.classes),
    )


def arch_blocks(family: Family, arch: Arch) -> tuple[Block, ...]:
    """The network of `arch`, from the stem to the classifier.

    Raises:
        InvalidArch: the family does not hold `arch`.
    """
    check_arch(family, arch)
    elastic = (
        slot_block(family, arch.resolution, u, position, *choice)
        for u, unit in enumerate(arch.units)
        for position, choice in enumerate(unit)
    )
    return (*head_blocks(family, arch.resolution), *elastic, *tail_blocks(family, arch.resolution))


# --- a subnet as a row of integers ---


def block_choices(family: Family) -> tuple[BlockChoice, ...]:
    """What choices 1, 2, ... of a slot stand for, as (kernel, expand ratio)."""
    return tuple((kernel, expand) for expand in family.expands for kernel in family.kernels)


def encode(family: Family, archs: Sequence[Arch]) -> Genotypes:
    """Genotypes of `archs`, shape (len(archs), 1 + family.slots).

    Raises:
        InvalidArch: the family does not hold one of them.
    """
    number = {choice: i for i, choice in enumerate(block_choices(family), start=1)}
    resolution_index = {resolution: i for i, resolution in enumerate(family.resolutions)}
    rows = np.zeros((len(archs), 1 + family.slots), dtype=np.int16)
    for row, arch in zip(rows, archs, strict=True):
        check_arch(family, arch)
        row[0] = resolution_index[arch.resolution]
        for u, unit in enumerate(arch.units):
            start = 1 + u * family.max_depth
            row[start : start + len(unit)] = [number[choice] for choice in unit]
    return rows


def decode(family: Family, genotypes: Genotypes) -> list[Arch]:
    """The subnets of `genotypes`, shape (n, 1 + family.slots).

    Raises:
        InvalidArch: a row is no subnet of the family.
    """
    choices = block_choices(family)
    archs = []
    for row in np.asarray(genotypes).tolist():
        units = []
        for start in range(1, len(row), family.max_depth):
            slots = row[start : start + family.max_depth]
            depth = next((i for i, choice in enumerate(slots) if choice == 0), len(slots))
            if any(slots[depth:]) or not all(0 < choice <= len(choices) for choice in slots[:depth]):
                raise InvalidArch(f"not a genotype of {family.name}: {row}")
            units.append(tuple(choices[choice - 1] for choice in slots[:depth]))
        if not 0 <= row[0] < len(family.resolutions):
            raise InvalidArch(f"not a genotype of {family.name}: {row}")
        arch = Arch(family.resolutions[row[0]], tuple(units))
        check_arch(family, arch)
        archs.append(arch)
    return archs


# --- the spaces ---


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
            raise ValueError(f"{self.name} on {family.name} has {count:.1e} subnets: too many to enumerate")
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
        raise ValueError(f"unknown space {name!r}; there are {', '.join(SPACES)}")
    return Space(name, family, compound=name != "ofa", fixed_kernel=name == "compofa")
