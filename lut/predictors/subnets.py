"""Feature rows of whole subnets, from look-up arrays over genotypes: 100,000 in about a second.

Every feature is a sum over blocks or a property of the resolution, computed from the blocks themselves, so a
model fitted at some resolutions has something to say about the others.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from compofa.arch import head_blocks, slot_block, tail_blocks
from compofa.blocks import Block, check_kind
from compofa.errors import InputError
from compofa.families import Family
from compofa.genotype import Genotypes, block_choices
from lut.predictors.base import Floats, Rows
from lut.predictors.block_rows import KINDS

COSTS = ("macs", "depthwise", "activations", "weights")
"""What a block costs the device, as :func:`block_costs` gives it."""
MS_PER_COST = np.array([2e-4, 0.0, 4e-4, 4e-4])
MS_PER_BLOCK = 0.02
"""A generic device: 20 us to start a block, 5 TMAC/s, 10 GB/s at fp32. It tells milliseconds from
microseconds; nothing else rests on it."""


def block_costs(block: Block) -> tuple[float, ...]:
    """Each of :data:`COSTS`, in millions: multiply-accumulates; those of the depthwise convolution, which is bound
    by memory; values that the layers inside read and write; weights."""
    check_kind("the model of subnets", block, KINDS)
    _, height, width = block.in_shape
    pixels = math.prod(block.out_shape[1:])
    hidden = block.hidden_channels
    depthwise = hidden * block.kernel**2 * pixels
    inner = 2 * hidden * (pixels + height * width * block.expands)
    moved = math.prod(block.in_shape) + math.prod(block.out_shape) + inner
    return block.macs / 1e6, depthwise / 1e6, moved / 1e6, block.params / 1e6


def subnet_rows(family: Family, genotypes: Genotypes) -> Rows:
    """The feature rows of subnets of `family`.

    Args:
        family: the family.
        genotypes: shape (n, 1 + slots), as :func:`compofa.spaces.encode` gives them.

    Raises:
        ValueError: they are not genotypes of the family.
    """
    arrays = _arrays(family)
    _check(arrays, genotypes)
    n, units = len(genotypes), len(family.units)
    resolution = genotypes[:, 0].astype(np.intp)
    choice = genotypes[:, 1:].astype(np.intp)
    active = (choice > 0).astype(float).reshape(n, units, family.max_depth)
    slot_costs = arrays.slot_costs[resolution[:, None], np.arange(family.slots), choice]
    by_unit = slot_costs.reshape(n, units, family.max_depth, len(COSTS))
    unit_costs = by_unit.sum(axis=2)
    depth = active.sum(axis=2)
    with_se = depth @ np.array([float(unit.se) for unit in family.units])

    launches = np.column_stack([np.ones(n), depth.sum(axis=1) - with_se, with_se])
    work = arrays.fixed_costs[resolution] + unit_costs.sum(axis=1)
    at = np.eye(len(family.resolutions))[resolution]
    chosen = arrays.chosen[choice]  # (n, slots, choices): one-hot, zero where inactive
    parts = arrays.parts[choice]  # (n, slots, kernels + expands): likewise
    area = arrays.area[resolution][:, :, None]
    linear = {
        "launches": launches,
        "work": work,
        "depths": depth,
        "unit work": _flat(unit_costs),
        "first work": _flat(by_unit[:, :, 0]),
        "resolution": at,
        "work at resolution": _flat(at[:, :, None] * work[:, None, :3]),
        "parts": _flat(parts),
        "parts by area": _flat(parts * area),
        "choices": _flat(chosen),
        "choices by area": _flat(chosen * area),
    }
    sides = np.array(family.resolutions, dtype=float)[resolution]
    general = np.column_stack(
        [
            sides,
            launches[:, 1:],
            np.log(work),
            depth,
            _flat(unit_costs),
            _flat(arrays.sizes[choice]),
        ]
    )
    prior = MS_PER_BLOCK * launches[:, 1:].sum(axis=1) + work @ MS_PER_COST
    return Rows(linear, general, prior)


def _flat(array: Floats) -> Floats:
    """(n, a, b) as (n, a x b)."""
    return array.reshape(len(array), array.shape[1] * array.shape[2])


@dataclass(frozen=True)
class _Arrays:
    """What the rows of a family are looked up in.

    Args:
        fixed_costs: of what every subnet has, (resolutions, costs).
        slot_costs: (resolutions, slots, 1 + choices, costs), 0 for choice 0 (inactive).
        area: what a slot writes relative to the largest resolution, (resolutions, slots).
        chosen: one-hot choice, (1 + choices, choices).
        parts: one-hot kernel and expand ratio, (1 + choices, kernels + expands).
        sizes: kernel and expand ratio themselves, (1 + choices, 2).
    """

    fixed_costs: Floats
    slot_costs: Floats
    area: Floats
    chosen: Floats
    parts: Floats
    sizes: Floats


@lru_cache(maxsize=8)
def _arrays(family: Family) -> _Arrays:
    choices = block_choices(family)
    fixed = np.zeros((len(family.resolutions), len(COSTS)))
    slots = np.zeros((len(family.resolutions), family.slots, 1 + len(choices), len(COSTS)))
    area = np.zeros((len(family.resolutions), family.slots))
    for r, resolution in enumerate(family.resolutions):
        for block in (*head_blocks(family, resolution), *tail_blocks(family, resolution)):
            fixed[r] += block_costs(block)
        for slot, (c, choice) in itertools.product(range(family.slots), enumerate(choices, start=1)):
            block = slot_block(family, resolution, *divmod(slot, family.max_depth), *choice)
            slots[r, slot, c] = block_costs(block)
            area[r, slot] = math.prod(block.out_shape)
    kernel, expand = (np.array(values) for values in zip(*choices, strict=True))
    parts = np.column_stack([kernel[:, None] == family.kernels, expand[:, None] == family.expands])
    return _Arrays(
        fixed,
        slots,
        area / area[-1],
        _after_zero(np.eye(len(choices))),
        _after_zero(parts.astype(float)),
        _after_zero(np.column_stack([kernel, expand]).astype(float)),
    )


def _after_zero(table: Floats) -> Floats:
    """`table` with a row of zeros before it, for the inactive choice."""
    return np.vstack([np.zeros(table.shape[1]), table])


def _check(arrays: _Arrays, genotypes: NDArray[np.int16]) -> None:
    resolutions, slots, choices, _ = arrays.slot_costs.shape
    if genotypes.ndim != 2 or genotypes.shape[1] != 1 + slots:
        raise InputError(f"genotypes here have shape (n, {1 + slots}), not {genotypes.shape}")
    if len(genotypes) and (
        genotypes.min() < 0 or genotypes[:, 0].max() >= resolutions or genotypes[:, 1:].max() >= choices
    ):
        raise InputError("not genotypes of the family: a resolution or a choice is out of range")
