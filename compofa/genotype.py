"""Subnets as rows of small integers, for vectorised work.

A *genotype* is the resolution's index in the family, then one choice per slot (unit x position): 0 for
inactive, otherwise ``1 + expand_index * len(kernels) + kernel_index``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.arch import Arch, BlockChoice, InvalidArch, check_arch
from compofa.errors import InputError
from compofa.families import Family

Genotypes = NDArray[np.int16]
"""Shape (subnets, 1 + slots)."""


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


@dataclass(frozen=True)
class Coverage:
    """What some subnets tell something about: a model that was fitted to them knows nothing of other choices.

    A kernel and an expand ratio count each by itself, not every pair of the two. Choice 0 of a slot stands for a
    unit that ends before it.

    Args:
        family: whose subnets.
        seen: choices of each slot, shape (slots, 1 + choices).
    """

    family: Family
    seen: NDArray[np.bool_]

    @classmethod
    def of(cls, family: Family, genotypes: Genotypes, by_unit: bool = False) -> Coverage:
        """What `genotypes`, shape (n, 1 + slots), cover.

        Args:
            family: whose subnets.
            genotypes: the subnets.
            by_unit: a choice seen at one block of a unit is known at all of them, as where a model looks at what
                blocks compute and not at their place.
        """
        kernels, expands, slots = len(family.kernels), len(family.expands), family.slots
        used = used_choices(family, genotypes)
        each = used[:, 1:].reshape(slots, expands, kernels)
        expand, kernel = np.any(each, axis=2), np.any(each, axis=1)
        if by_unit:
            units = (len(family.units), family.max_depth, -1)
            expand, kernel = (
                np.repeat(np.any(part.reshape(units), axis=1), family.max_depth, axis=0)
                for part in (expand, kernel)
            )
        active = (expand[:, :, None] & kernel[:, None, :]).reshape(slots, -1)
        return cls(family, np.hstack([used[:, :1], active]))

    def lacks(self, used: NDArray[np.bool_]) -> str | None:
        """The first of the choices `used`, shape as `seen`, that is not covered, in words; None if all are."""
        missing = np.argwhere(used & ~self.seen)
        if not len(missing):
            return None
        slot, choice = missing[0].tolist()
        unit, position = divmod(slot, self.family.max_depth)
        if not choice:
            return f"{position} blocks in unit {unit + 1}"
        kernel, expand = block_choices(self.family)[choice - 1]
        return f"k{kernel}e{expand} as block {position + 1} of unit {unit + 1}"

    def to_lists(self) -> list[list[int]]:
        """The choices of each slot, JSON-ready; :meth:`from_lists` reads them back."""
        return [np.flatnonzero(row).tolist() for row in self.seen]

    @classmethod
    def from_lists(cls, family: Family, lists: Sequence[Sequence[int]]) -> Coverage:
        """What :meth:`to_lists` wrote.

        Raises:
            InputError: it is not that of the family.
        """
        seen = np.zeros((family.slots, 1 + len(block_choices(family))), dtype=np.bool_)
        try:
            for row, choices in zip(seen, lists, strict=True):
                row[np.array(choices, dtype=np.uint8)] = True
        except (IndexError, OverflowError, TypeError, ValueError) as error:
            raise InputError(f"not choices of family {family.name}: {error}") from None
        return cls(family, seen)


def used_choices(family: Family, genotypes: Genotypes) -> NDArray[np.bool_]:
    """Which choices subnets, genotypes (n, 1 + slots), use, shape (slots, 1 + choices); choice 0 stands for a unit
    that ends before the slot, not for the inactive slots after that."""
    used = np.zeros((family.slots, 1 + len(block_choices(family))), dtype=np.bool_)
    slots = genotypes[:, 1:]
    used[np.arange(family.slots), slots] = True
    units = (slots > 0).reshape(len(slots), len(family.units), family.max_depth)
    ends = np.zeros(units.shape[1:], dtype=np.bool_)
    ends[:, 1:] = (units[:, :, :-1] & ~units[:, :, 1:]).any(axis=0)
    used[:, 0] = ends.ravel()
    return used
