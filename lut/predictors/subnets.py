"""Feature rows of whole subnets, from look-up arrays over genotypes: 100,000 in about a second.

Every feature is a sum over blocks or a property of the resolution, computed from the blocks themselves, so a
model fitted at some resolutions has something to say about the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from compofa.blocks import Block, check_operations
from compofa.blocks.operations import Convolution
from compofa.network import frame
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout
from lut.lookup import Lookup
from lut.predictors.base import Floats, Rows

COSTS = ("macs", "depthwise", "activations", "weights")
"""What a block costs the device, as :func:`block_costs` gives it."""
MS_PER_COST = np.array([2e-4, 0.0, 4e-4, 4e-4])
MS_PER_BLOCK = 0.02
"""A generic device: 20 us to start a block, 5 TMAC/s, 10 GB/s at fp32. It tells milliseconds from
microseconds; nothing else rests on it."""
LEAST_WORK = 1e-9
"""In millions: of a family without depthwise convolutions, say."""


def block_costs(block: Block) -> tuple[float, ...]:
    """Each of :data:`COSTS`, in millions: multiply-accumulates; those of the depthwise convolution, which is bound
    by memory; values that the layers inside read and write; weights."""
    check_operations("the model of subnets", block)
    convolutions = [op for op in block.operations if isinstance(op, Convolution)]
    depthwise = sum(op.macs for op in convolutions if op.depthwise)
    # What is inside a gate is small, and the last convolution gives the block's output.
    inner = [math.prod(op.out_shape) for op in convolutions if op.affine == "norm"][:-1]
    moved = math.prod(block.in_shape) + math.prod(block.out_shape) + 2 * sum(inner)
    return block.macs / 1e6, depthwise / 1e6, moved / 1e6, block.params / 1e6


def subnet_rows(family: Family, genotypes: Genotypes) -> Rows:
    """The feature rows of subnets of `family`.

    Args:
        family: the family.
        genotypes: shape (n, columns), as :func:`compofa.spaces.layout.encode` gives them.

    Raises:
        ValueError: they are not genotypes of the family.
    """
    arrays, at = _arrays(family), layout(family)
    at.check(genotypes)
    n, slots = len(genotypes), np.arange(at.slots)
    resolution = genotypes[:, 0].astype(np.intp)
    choice = genotypes[:, 1 : 1 + at.slots].astype(np.intp)
    context = at.contexts_of_slots(genotypes).T
    starts = list(at.starts[:-1])
    slot_costs = arrays.slot_costs[context, slots, choice]
    unit_costs = np.add.reduceat(slot_costs, starts, axis=1)
    depth = np.add.reduceat((choice > 0).astype(float), starts, axis=1)
    with_se = depth @ np.array([float(unit.se) for unit in at.units])

    launches = np.column_stack([np.ones(n), depth.sum(axis=1) - with_se, with_se])
    work = arrays.fixed_costs[resolution] + unit_costs.sum(axis=1)
    at_resolution = np.eye(len(family.resolutions))[resolution]
    chosen = arrays.chosen[choice]  # (n, slots, choices): one-hot, zero where inactive
    parts = arrays.parts[slots, choice]  # (n, slots, values of axes): likewise
    area = arrays.area[resolution][:, :, None]
    linear = {
        "launches": launches,
        "work": work,
        "depths": depth,
        "unit work": _flat(unit_costs),
        "first work": _flat(slot_costs[:, starts]),
        "resolution": at_resolution,
        "work at resolution": _flat(at_resolution[:, :, None] * work[:, None, :3]),
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
            np.log(np.maximum(work, LEAST_WORK)),
            depth,
            _flat(unit_costs),
            _flat(arrays.sizes[slots, choice]),
        ]
    )
    if at.wide_units:
        widths = at.widths_of(genotypes)[list(at.wide_units)].T
        linear["widths"] = _flat(np.eye(at.most_widths)[widths])
        general = np.column_stack([general, widths])
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
        slot_costs: (contexts, slots, 1 + most choices, costs), 0 for choice 0 (inactive).
        area: what a slot writes relative to the largest resolution, (resolutions, slots).
        chosen: one-hot choice, (1 + most choices, most choices).
        parts: one-hot value of each axis, (slots, 1 + most choices, values of all axes).
        sizes: the values themselves, (slots, 1 + most choices, axes).
    """

    fixed_costs: Floats
    slot_costs: Floats
    area: Floats
    chosen: Floats
    parts: Floats
    sizes: Floats


@lru_cache(maxsize=8)
def _arrays(family: Family) -> _Arrays:
    at = layout(family)
    costs = [Lookup.build(family, lambda block, _, i=i: block_costs(block)[i]) for i in range(len(COSTS))]  # type: ignore[misc]
    fixed = np.stack([cost.fixed for cost in costs], axis=-1)
    slots = np.stack([cost.slots for cost in costs], axis=-1)
    area = np.zeros((len(family.resolutions), at.slots))
    for r, resolution in enumerate(family.resolutions):
        for slot in range(at.slots):
            unit, position = at.slot(slot)
            widest = at.width_count(unit) - 1
            block = frame(family, resolution).block(
                unit, position, at.units[unit].choices[0], widest, at.width_count(unit - 1) - 1
            )
            area[r, slot] = math.prod(block.out_shape)
    parts, sizes = _by_axis(family)
    chosen = np.vstack([np.zeros(at.max_choices), np.eye(at.max_choices)])
    return _Arrays(fixed, slots, area / area[-1], chosen, parts, sizes)


def _by_axis(family: Family) -> tuple[Floats, Floats]:
    """``parts`` and ``sizes`` of :class:`_Arrays`."""
    at = layout(family)
    names = tuple(dict.fromkeys(axis.name for unit in at.units for axis in unit.axes))
    values = {name: family.axis_values(name) for name in names}
    starts = dict(zip(names, np.cumsum([0, *map(len, values.values())]).tolist(), strict=False))
    parts = np.zeros((at.slots, 1 + at.max_choices, sum(map(len, values.values()))))
    sizes = np.zeros((at.slots, 1 + at.max_choices, len(names)))
    for number, unit in enumerate(at.units):
        rows = slice(at.starts[number], at.starts[number + 1])
        for c, choice in enumerate(unit.choices, start=1):
            for axis, value in zip(unit.axes, choice, strict=True):
                parts[rows, c, starts[axis.name] + values[axis.name].index(value)] = 1
                sizes[rows, c, names.index(axis.name)] = value
    return parts, sizes
