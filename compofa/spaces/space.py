"""Spaces: which subnets of a family there are to choose from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block
from compofa.errors import InputError
from compofa.network import arch_blocks, frame
from compofa.spaces.arch import Arch, InvalidArch, UnitChoice, check_arch, make_arch
from compofa.spaces.family import Choice, Family
from compofa.spaces.layout import GenotypeLayout, Genotypes, layout, used_choices
from compofa.spaces.rules import RULES, Rule, UnitShape

ENUMERABLE = 10_000_000
"""Subnets that are enumerated at most."""
TRIES = 100
"""Random widths that are tried before it is said that nothing can run."""


@dataclass(frozen=True)
class Space:
    """The subnets of a family that a rule allows; less what cannot run.

    Args:
        family: whose subnets.
        rule: per unit, which choices may stand together.
        forbidden: blocks that no subnet of the space may have (:meth:`without`).

    Raises:
        InputError: the family has not what the rule speaks of.
    """

    family: Family
    rule: Rule
    forbidden: frozenset[Block] = frozenset()

    def __post_init__(self) -> None:
        self.rule.check(self.family)

    @property
    def name(self) -> str:
        """As given to ``--space``."""
        return self.rule.name

    @property
    def layout(self) -> GenotypeLayout:
        """Of the genotypes of its subnets."""
        return layout(self.family)

    # --- the rule ---

    @cached_property
    def shapes(self) -> tuple[list[UnitShape], ...]:
        """Of each unit: every number of blocks, with what each of them may then be."""
        return tuple(self.rule.shapes(unit, i) for i, unit in enumerate(self.family.elastic_units))

    def unit_size(self, unit: int) -> int:
        """How many ways there are to fill `unit` at one width, by the rule."""
        return sum(math.prod(map(len, values)) ** depth for depth, values in self.shapes[unit])

    def size(self) -> int:
        """Subnets at one resolution, by the rule: what cannot run is among them (:meth:`count` leaves it out)."""
        units = range(len(self.shapes))
        return math.prod(self.unit_size(unit) * self.layout.width_count(unit) for unit in units)

    @cached_property
    def allowed(self) -> tuple[list[tuple[int, NDArray[np.int16]]], ...]:
        """Of each unit: every number of blocks, with the choices that each of them may be, ascending."""
        found = []
        for unit, shapes in zip(self.family.elastic_units, self.shapes, strict=True):
            number = {choice: i for i, choice in enumerate(unit.choices, start=1)}
            found.append(
                [
                    (
                        depth,
                        np.array([number[choice] for choice in itertools.product(*values)], dtype=np.int16),
                    )
                    for depth, values in shapes
                ]
            )
        return tuple(found)

    @cached_property
    def allows(self) -> tuple[NDArray[np.bool_], ...]:
        """Of each unit: whether the rule has a choice at a position of a unit of so many blocks, shape (1 + most
        blocks, most blocks, 1 + most choices)."""
        found = []
        for unit, ways in zip(self.family.elastic_units, self.allowed, strict=True):
            fits = np.zeros((1 + unit.max_depth, unit.max_depth, 1 + self.layout.max_choices), dtype=np.bool_)
            for depth, choices in ways:
                fits[depth, depth:, 0] = True
                fits[depth, :depth, choices] = True
            found.append(fits)
        return tuple(found)

    def fits_rule(self, unit: int, rows: Genotypes) -> NDArray[np.bool_]:
        """Which rows, shape (n, most blocks), are ways to fill `unit` by the rule; shape (n,)."""
        depth = (rows > 0).sum(axis=1)
        fits: NDArray[np.bool_] = self.allows[unit][depth[:, None], np.arange(rows.shape[1]), rows].all(
            axis=1
        )
        return fits

    def unit_genotypes(self, unit: int) -> Genotypes:
        """Every way to fill `unit`, fewest blocks first, shape (unit_size, most blocks)."""
        parts = []
        for depth, choices in self.allowed[unit]:
            index = np.indices((len(choices),) * depth).reshape(depth, -1)
            rows = np.zeros((index.shape[1], self.family.elastic_units[unit].max_depth), dtype=np.int16)
            rows[:, :depth] = choices[index.T]
            parts.append(rows)
        return np.concatenate(parts)

    def used_choices(self) -> NDArray[np.bool_]:
        """Which choices of each slot the rule has, as :func:`compofa.spaces.layout.used_choices` tells them."""
        at = self.layout
        rows = []
        for unit, ways in zip(self.family.elastic_units, self.allowed, strict=True):
            filled = [np.zeros((len(choices), unit.max_depth), dtype=np.int16) for _, choices in ways]
            for row, (depth, choices) in zip(filled, ways, strict=True):
                row[:, :depth] = choices[:, None]
            rows.append(np.concatenate(filled))
        longest = max(map(len, rows))
        # Units side by side, the shorter lists gone through again: which of them meet does not matter.
        parts = [np.resize(row, (longest, row.shape[1])) for row in rows]
        zeros = np.zeros((longest, at.columns), dtype=np.int16)
        zeros[:, 1 : 1 + at.slots] = np.hstack(parts)
        return used_choices(self.family, zeros)

    # --- what cannot run ---

    def without(self, blocks: Iterable[Block]) -> Space:
        """The space less all subnets that have any of `blocks`."""
        return replace(self, forbidden=self.forbidden | frozenset(blocks))

    @cached_property
    def runs(self) -> NDArray[np.bool_]:
        """Whether each choice of each slot can run, shape (contexts, slots, 1 + most choices); an inactive slot can.
        Where a block that every subnet of a context has is forbidden, nothing of it can."""
        at = self.layout
        found = np.ones((at.contexts, at.slots, 1 + at.max_choices), dtype=np.bool_)
        if not self.forbidden:
            return found
        for r, resolution in enumerate(self.family.resolutions):
            around = frame(self.family, resolution)
            if self.forbidden.intersection(around.before):
                found[
                    [at.context(r, b, w) for b, w in itertools.product(range(at.most_widths), repeat=2)]
                ] = False
                continue
            for unit, before, width in self._widths():
                context, slots = at.context(r, before, width), slice(at.starts[unit], at.starts[unit + 1])
                if self.forbidden.intersection(around.after[unit][width]):
                    found[context, slots] = False
                    continue
                for position in range(self.family.elastic_units[unit].max_depth):
                    for c, choice in enumerate(self.family.elastic_units[unit].choices, start=1):
                        block = around.block(unit, position, choice, width, before)
                        found[context, at.starts[unit] + position, c] = block not in self.forbidden
        return found

    def _widths(self) -> Iterator[tuple[int, int, int]]:
        """Each unit with each width before it and each of its own."""
        for unit in range(len(self.shapes)):
            pairs = itertools.product(
                range(self.layout.width_count(unit - 1)), range(self.layout.width_count(unit))
            )
            for before, width in pairs:
                yield unit, before, width

    def _ways(self, resolution: int, unit: int, before: int = 0, width: int = 0) -> list[list[list[Choice]]]:
        """For each depth at which `unit` can be filled: what each of its blocks may be."""
        at, spec = self.layout, self.family.elastic_units[unit]
        context = at.context(self.family.resolutions.index(resolution), before, width)
        mine = self.runs[context, at.starts[unit] : at.starts[unit + 1]]
        ways = []
        for depth, choices in self.allowed[unit]:
            way = [[spec.choices[c - 1] for c in choices.tolist() if mine[p, c]] for p in range(depth)]
            if mine[0, 0] and all(way):
                ways.append(way)
        return ways

    def _live_widths(self, resolution: int) -> list[tuple[int, int, int]]:
        """Each unit with each width before it and each of its own that some subnet has which can run."""
        steps = list(self._widths())
        if not self.forbidden:
            return steps
        steps = [step for step in steps if self._ways(resolution, *step)]
        last = len(self.shapes) - 1
        for _ in self.shapes:  # what cannot be reached, or leads nowhere, goes: at most once a unit
            ends, starts = ({(u, w) for u, _, w in steps}, {(u, b) for u, b, _ in steps})
            steps = [
                (u, b, w)
                for u, b, w in steps
                if (u == 0 or (u - 1, b) in ends) and (u == last or (u + 1, w) in starts)
            ]
        return steps

    def count(self, resolutions: Sequence[int] | None = None) -> int:
        """Subnets that can run, at the given resolutions (all unless given).

        Raises:
            InputError: the family has not one of the resolutions.
        """
        total = 0
        for resolution in self.family.resolutions if resolutions is None else resolutions:
            self.family.check_resolution(resolution)
            by_width = [1]
            for unit in range(len(self.shapes)):
                by_width = [
                    sum(
                        many
                        * sum(math.prod(map(len, way)) for way in self._ways(resolution, unit, before, width))
                        for before, many in enumerate(by_width)
                    )
                    for width in range(self.layout.width_count(unit))
                ]
            total += sum(by_width)
        return total

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Those of the family at which some subnet can run, ascending."""
        if not self.forbidden:
            return self.family.resolutions
        return tuple(r for r in self.family.resolutions if self.count((r,)))

    def can_run(self, genotypes: Genotypes) -> NDArray[np.bool_]:
        """Which subnets of the rule, genotypes (n, columns), can run; shape (n,)."""
        if not self.forbidden:
            return np.ones(len(genotypes), dtype=np.bool_)
        at = self.layout
        rows = at.contexts_of_slots(genotypes).T
        runs = self.runs[rows, np.arange(at.slots), genotypes[:, 1 : 1 + at.slots]]
        fits: NDArray[np.bool_] = np.all(runs, axis=1)
        return fits

    # --- subnets ---

    def enumerate(self, resolutions: Sequence[int] | None = None) -> Iterator[Arch]:
        """Every subnet, resolution by resolution (the family's, unless given).

        Raises:
            InputError: the family has not one of the resolutions.
        """
        units = range(len(self.shapes))
        for resolution in resolutions or self.family.resolutions:
            self.family.check_resolution(resolution)
            for widths in itertools.product(*(range(self.layout.width_count(unit)) for unit in units)):
                per_unit = [
                    [
                        choice
                        for way in self._ways(resolution, unit, widths[unit - 1] if unit else 0, widths[unit])
                        for choice in itertools.product(*way)
                    ]
                    for unit in units
                ]
                for chosen in itertools.product(*per_unit):
                    yield make_arch(self.family, resolution, chosen, widths)

    @property
    def is_enumerable(self) -> bool:
        """Whether :meth:`enumerate_genotypes` can list it: by the rule, before what cannot run is left out."""
        return self.size() * len(self.family.resolutions) <= ENUMERABLE

    def enumerate_genotypes(self) -> Genotypes:
        """Every subnet at every resolution, resolution by resolution, shape (n, columns).

        Raises:
            InputError: the space is too large to hold (above 10 million subnets).
        """
        family, at = self.family, self.layout
        if not self.is_enumerable:
            count = self.size() * len(family.resolutions)
            raise InputError(f"{self.name} on {family.name} has {count:.1e} subnets: too many to enumerate")
        parts = [np.arange(len(family.resolutions), dtype=np.int16)[:, None]]
        parts += [self.unit_genotypes(unit) for unit in range(len(self.shapes))]
        parts += [np.arange(at.width_count(unit), dtype=np.int16)[:, None] for unit in at.wide_units]
        index = np.indices([len(part) for part in parts], dtype=np.int32).reshape(len(parts), -1)
        every = np.hstack([part[i] for part, i in zip(parts, index, strict=True)])
        return every[self.can_run(every)] if self.forbidden else every

    def sample(self, rng: np.random.Generator, resolution: int | None = None) -> Arch:
        """A random subnet: widths, depth, then each block's choices, uniform over their values (as the papers draw
        them, which is not uniform over subnets); the resolution too unless given.

        Raises:
            InputError: no subnet can run there.
        """
        if resolution is None:
            resolution = int(rng.choice(self.resolutions))
        self.family.check_resolution(resolution)
        for _ in range(TRIES):
            widths = tuple(
                int(rng.integers(self.layout.width_count(unit))) if unit in self.layout.wide_units else 0
                for unit in range(len(self.shapes))
            )
            units = [
                self.sample_unit(rng, unit, resolution, widths[unit - 1] if unit else 0, widths[unit])
                for unit in range(len(self.shapes))
            ]
            chosen = tuple(unit for unit in units if unit is not None)
            if len(chosen) == len(units):
                return make_arch(self.family, resolution, chosen, widths)
        raise InputError(f"no subnet of space {self.name} can run at {resolution} px")

    def sample_unit(
        self, rng: np.random.Generator, unit: int, resolution: int, before: int = 0, width: int = 0
    ) -> UnitChoice | None:
        """A random way to fill `unit` at its width and the width before it; None if there is none that can run."""
        if self.forbidden:
            ways = self._ways(resolution, unit, before, width)
            if not ways:
                return None
            return tuple(block[rng.integers(len(block))] for block in ways[rng.integers(len(ways))])
        shapes = self.shapes[unit]
        depth, values = shapes[rng.integers(len(shapes))]
        return tuple(tuple(axis[rng.integers(len(axis))] for axis in values) for _ in range(depth))

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
        if arch.resolution not in self.family.resolutions:
            known = ", ".join(map(str, self.family.resolutions))
            raise InvalidArch(f"{arch}: space {self.name} has the resolutions {known}")
        for u, unit in enumerate(arch.units):
            values = dict(self.shapes[u])[len(unit)]
            for choice in unit:
                if any(value not in allowed for value, allowed in zip(choice, values, strict=True)):
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
        """Every distinct block that some subnet of the space uses, at the given resolutions (all unless given), in a
        fixed order.

        Raises:
            InputError: the family has not one of the resolutions.
        """
        found: dict[Block, None] = {}
        for resolution in resolutions or self.family.resolutions:
            self.family.check_resolution(resolution)
            if resolution not in self.resolutions:
                continue
            around = frame(self.family, resolution)
            found.update(dict.fromkeys(around.before))
            for unit, before, width in self._live_widths(resolution):
                for way in self._ways(resolution, unit, before, width):
                    for position, block in enumerate(way):
                        for choice in block:
                            found[around.block(unit, position, choice, width, before)] = None
                found.update(dict.fromkeys(around.after[unit][width]))
        return tuple(found)


SPACES = tuple(RULES)


def get_space(name: str, family: Family) -> Space:
    """The space called `name` over `family`.

    >>> import hwbench
    >>> space = hwbench.get_space("compofa", hwbench.get_family("glyphs"))
    >>> space.size(), space.contains(next(iter(space.enumerate())))
    (243, True)

    Raises:
        InputError: there is none; the message lists those there are.
    """
    if name not in RULES:
        raise InputError(f"unknown space {name!r}; there are {', '.join(RULES)}")
    return Space(family, RULES[name])


def spaces_of(family: Family) -> list[Space]:
    """Every space that is defined over `family`, the largest first."""
    found = []
    for rule in sorted(RULES.values(), key=lambda rule: (rule.coupled is not None, rule.fixed is not None)):
        try:
            found.append(Space(family, rule))
        except InputError:  # the rule speaks of what the family has not
            continue
    return found
