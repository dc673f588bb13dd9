"""Subnets as rows of small integers, for vectorised work: all arithmetic of slots, choices and widths.

A *genotype* is the resolution's index in the family; then one choice per slot (elastic unit x position), 0 for
inactive, otherwise 1 + its place among :attr:`~compofa.spaces.family.Unit.choices`; then, for each unit of several
widths, which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from compofa.spaces.arch import Arch, InvalidArch, check_arch, choice_text, make_arch, width_index
from compofa.spaces.family import Choice, Family, Unit

Genotypes = NDArray[np.int16]
"""Shape (subnets, columns)."""


@dataclass(frozen=True)
class GenotypeLayout:
    """Which column of a genotype says what.

    Latency, and what else is a sum over blocks, is looked up by *context* and slot: the context of a unit is the
    resolution together with the width of the unit and of the one before it, of which its blocks' shapes depend.

    Args:
        family: whose genotypes.
    """

    family: Family

    @property
    def units(self) -> tuple[Unit, ...]:
        """The elastic ones."""
        return self.family.elastic_units

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first slot of each unit, and the number of slots."""
        return (0, *accumulate(unit.max_depth for unit in self.units))

    @property
    def slots(self) -> int:
        """Places for elastic blocks, over all units."""
        return self.starts[-1]

    @property
    def columns(self) -> int:
        """Of a genotype."""
        return 1 + self.slots + len(self.wide_units)

    @cached_property
    def max_choices(self) -> int:
        """The most that a block may be, in any unit."""
        return max(len(unit.choices) for unit in self.units)

    @cached_property
    def choices(self) -> NDArray[np.int16]:
        """How many choices each slot has, shape (slots,)."""
        return np.repeat([len(u.choices) for u in self.units], [u.max_depth for u in self.units]).astype(
            np.int16
        )

    @cached_property
    def unit_of_slot(self) -> NDArray[np.intp]:
        """Shape (slots,)."""
        return np.repeat(np.arange(len(self.units)), [unit.max_depth for unit in self.units])

    def place(self, unit: int) -> slice:
        """The columns of a unit's slots."""
        return slice(1 + self.starts[unit], 1 + self.starts[unit + 1])

    def slot(self, slot: int) -> tuple[int, int]:
        """The unit of a slot and the position in it."""
        unit = int(self.unit_of_slot[slot])
        return unit, slot - self.starts[unit]

    # --- widths ---

    @cached_property
    def wide_units(self) -> tuple[int, ...]:
        """Those of several widths."""
        return tuple(number for number, unit in enumerate(self.units) if unit.wide)

    def width_column(self, unit: int) -> int | None:
        """The column of a unit's width, if it has several."""
        return 1 + self.slots + self.wide_units.index(unit) if unit in self.wide_units else None

    def width_count(self, unit: int) -> int:
        """How many widths a unit has; 1 for what is before the first."""
        return len(self.units[unit].width_mults) if unit >= 0 else 1

    @cached_property
    def most_widths(self) -> int:
        return max(len(unit.width_mults) for unit in self.units)

    @property
    def contexts(self) -> int:
        """How many contexts there are."""
        return len(self.family.resolutions) * self.most_widths**2

    def context(self, resolution: int, before: int = 0, width: int = 0) -> int:
        """The context of a unit, by the index of the resolution, the width before it and its own."""
        return (resolution * self.most_widths + before) * self.most_widths + width

    def contexts_of(self, genotypes: Genotypes) -> NDArray[np.intp]:
        """The context of each unit, shape (units, n); (1, n) where no unit has several widths."""
        resolution = genotypes[:, 0].astype(np.intp)[None]
        if not self.wide_units:
            return resolution
        widths = self.widths_of(genotypes)
        before = np.vstack([np.zeros_like(widths[:1]), widths[:-1]])
        found: NDArray[np.intp] = (resolution * self.most_widths + before) * self.most_widths + widths
        return found

    def contexts_of_slots(self, genotypes: Genotypes) -> NDArray[np.intp]:
        """The context of each slot, that of its unit, shape (slots, n); (1, n) where no unit has several widths."""
        contexts = self.contexts_of(genotypes)
        return contexts[self.unit_of_slot] if self.wide_units else contexts

    def widths_of(self, genotypes: Genotypes) -> NDArray[np.intp]:
        """Which width each unit has, shape (units, n)."""
        widths = np.zeros((len(self.units), len(genotypes)), dtype=np.intp)
        widths[list(self.wide_units)] = genotypes[:, 1 + self.slots :].T
        return widths

    # --- validity ---

    def check(self, genotypes: Genotypes) -> None:
        """Raise InputError unless `genotypes` have the family's columns and values that stand for something."""
        if genotypes.ndim != 2 or genotypes.shape[1] != self.columns:
            raise InputError(
                f"genotypes of {self.family.name} have shape (n, {self.columns}), not {genotypes.shape}"
            )
        if not len(genotypes):
            return
        wrong = genotypes.min() < 0 or genotypes[:, 0].max() >= len(self.family.resolutions)
        # The cheap look first: most families have as many choices everywhere.
        wrong |= bool(genotypes[:, 1 : 1 + self.slots].max() > self.max_choices)
        if not wrong and (self.wide_units or self.choices.min() < self.max_choices):
            wrong |= bool((genotypes.max(axis=0) > self._most).any())
        if wrong:
            raise InputError(f"not genotypes of {self.family.name}: a resolution or a choice is out of range")

    @cached_property
    def _most(self) -> NDArray[np.int16]:
        widths = [self.width_count(unit) - 1 for unit in self.wide_units]
        return np.array([len(self.family.resolutions) - 1, *self.choices, *widths], dtype=np.int16)

    def describe(self, slot: int, choice: int) -> str:
        """A choice of a slot in words; choice 0 ends the unit there."""
        unit, position = self.slot(slot)
        if not choice:
            return f"{position} blocks in unit {unit + 1}"
        spec = self.units[unit]
        letters = tuple(axis.letter for axis in spec.axes)
        what = choice_text(letters, spec.choices[choice - 1]) if letters else "a block"
        return f"{what} as block {position + 1} of unit {unit + 1}"


@lru_cache(maxsize=64)
def layout(family: Family) -> GenotypeLayout:
    """The layout of a family's genotypes."""
    return GenotypeLayout(family)


def encode(family: Family, archs: Sequence[Arch]) -> Genotypes:
    """Genotypes of `archs`, shape (len(archs), columns).

    Raises:
        InvalidArch: the family does not hold one of them.
    """
    at = layout(family)
    numbers: list[dict[Choice, int]] = [
        {choice: i for i, choice in enumerate(unit.choices, start=1)} for unit in at.units
    ]
    resolution_index = {resolution: i for i, resolution in enumerate(family.resolutions)}
    rows = np.zeros((len(archs), at.columns), dtype=np.int16)
    for row, arch in zip(rows, archs, strict=True):
        check_arch(family, arch)
        if arch.resolution not in resolution_index:
            known = ", ".join(map(str, family.resolutions))
            raise InvalidArch(
                f"{arch}: family {family.name} has no resolution {arch.resolution}; it has {known}"
            )
        row[0] = resolution_index[arch.resolution]
        for number, chosen in enumerate(arch.units):
            start = 1 + at.starts[number]
            row[start : start + len(chosen)] = [numbers[number][choice] for choice in chosen]
        for column, number in enumerate(at.wide_units, start=1 + at.slots):
            row[column] = width_index(at.units[number], arch.width(number))
    return rows


def decode(family: Family, genotypes: Genotypes) -> list[Arch]:
    """The subnets of `genotypes`, shape (n, columns).

    Raises:
        InvalidArch: a row is no subnet of the family.
    """
    at = layout(family)
    archs = []
    for row in np.asarray(genotypes).tolist():
        units = []
        sound = len(row) == at.columns and 0 <= row[0] < len(family.resolutions)
        for number, unit in enumerate(at.units if sound else ()):
            slots = row[at.place(number)]
            depth = next((i for i, choice in enumerate(slots) if choice == 0), len(slots))
            sound &= not any(slots[depth:]) and all(
                0 < choice <= len(unit.choices) for choice in slots[:depth]
            )
            units.append(tuple(unit.choices[choice - 1] for choice in slots[:depth]) if sound else ())
        widths = [0] * len(at.units)
        for column, number in enumerate(at.wide_units, start=1 + at.slots):
            sound = sound and 0 <= row[column] < at.width_count(number)
            widths[number] = row[column] if sound else 0
        if not sound:
            raise InvalidArch(f"not a genotype of {family.name}: {row}")
        arch = make_arch(family, family.resolutions[row[0]], tuple(units), tuple(widths))
        check_arch(family, arch)
        archs.append(arch)
    return archs


def used_choices(family: Family, genotypes: Genotypes) -> NDArray[np.bool_]:
    """Which choices subnets, genotypes (n, columns), use, shape (slots, 1 + most choices); choice 0 stands for a unit
    that ends before the slot, not for the inactive slots after that."""
    at = layout(family)
    used = np.zeros((at.slots, 1 + at.max_choices), dtype=np.bool_)
    slots = genotypes[:, 1 : 1 + at.slots]
    used[np.arange(at.slots), slots] = True
    active = slots > 0
    ends = np.zeros(at.slots, dtype=np.bool_)
    ends[1:] = (active[:, :-1] & ~active[:, 1:]).any(axis=0)
    ends[list(at.starts[:-1])] = False
    used[:, 0] = ends
    return used
