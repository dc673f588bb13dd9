"""Subnets as rows of small integers, for vectorised work.

A *genotype* is the resolution's index in the family, then one choice per slot (unit x position): 0 for
inactive, otherwise ``1 + expand_index * len(kernels) + kernel_index``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compofa.arch import Arch, BlockChoice, InvalidArch, check_arch
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
