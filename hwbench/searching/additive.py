"""Functions that are additive over a subnet's blocks, as most costs are and accuracy nearly is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout
from lut.lookup import Lookup

if TYPE_CHECKING:
    from hwbench.searching.problem import Problem

Floats = NDArray[np.float64]

RIDGE = 1.0
EXACT = 2e-6
"""The largest error of an accuracy in single precision that still counts as rounding."""


def weighted(parts: tuple[Lookup, ...], weights: Floats) -> Lookup:
    """The weighted sum of some additive functions; infinite where one of them is, whatever its weight."""

    def add(values: list[Floats]) -> Floats:
        finite = (w * np.where(np.isinf(v), 0.0, v) for v, w in zip(values, weights.tolist(), strict=True))
        total: Floats = sum(finite, start=np.zeros_like(values[0]))
        return np.where(np.any(np.isinf(values), axis=0), np.inf, total)

    return Lookup(parts[0].family, add([part.fixed for part in parts]), add([part.slots for part in parts]))


def fit(family: Family, genotypes: Genotypes, accuracy: Floats, weight: Floats) -> Lookup:
    """The additive function closest to the accuracies of some subnets, by ridge regression.

    Each choice of each slot, and each width, has an effect, and one that grows linearly with the resolution.

    Args:
        family: whose subnets.
        genotypes: shape (n, columns).
        accuracy: theirs, shape (n,).
        weight: what each counts, shape (n,).
    """
    at = layout(family)
    choices, wide = 1 + at.max_choices, len(at.wide_units)
    level = _level(np.array(family.resolutions, dtype=float))
    chosen = np.eye(choices, dtype=np.float32)[genotypes[:, 1 : 1 + at.slots]].reshape(len(genotypes), -1)
    width = np.eye(at.most_widths, dtype=np.float32)[genotypes[:, 1 + at.slots :]].reshape(len(genotypes), -1)
    one_hot = np.hstack([chosen, width]) if wide else chosen
    side = np.eye(len(family.resolutions), dtype=np.float32)[genotypes[:, 0]]
    x = np.hstack([side, one_hot, level[genotypes[:, 0], None].astype(np.float32) * one_hot])
    mean = accuracy.mean()
    # A matrix times its own transpose is done in half the time.
    x *= np.sqrt(weight[:, None]).astype(np.float32)
    gram = (x.T @ x).astype(float)
    gram[np.diag_indices_from(gram)] += RIDGE
    wanted = x.T @ (np.sqrt(weight) * (accuracy - mean)).astype(np.float32)
    weights = np.linalg.solve(gram, wanted.astype(float))
    resolutions = len(family.resolutions)
    shared, slope = weights[resolutions:].reshape(2, -1)
    each = shared + level[:, None] * slope
    slots = each[:, : chosen.shape[1]].reshape(resolutions, at.slots, choices)
    widths = each[:, chosen.shape[1] :].reshape(resolutions, wide, at.most_widths)
    return _in_contexts(family, mean + weights[:resolutions], slots, widths)


def _in_contexts(family: Family, fixed: Floats, slots: Floats, widths: Floats) -> Lookup:
    """The function of what each choice (resolutions, slots, 1 + most choices) and each width (resolutions, units of
    several widths, most widths) adds: a width counts with the first block of its unit, which every subnet has."""
    at = layout(family)
    most = at.most_widths
    # Resolution, width before, width.
    found = np.repeat(slots, most * most, axis=0).reshape(len(fixed), most, most, *slots.shape[1:])
    for place, unit in enumerate(at.wide_units):
        found[:, :, :, at.starts[unit], 1:] += widths[:, place][:, None, :, None]
    return Lookup(family, fixed, found.reshape(at.contexts, *slots.shape[1:]))


def _level(resolutions: Floats) -> Floats:
    """Resolutions, centred and of size one."""
    centred = resolutions - resolutions.mean()
    return centred / max(float(np.abs(centred).max()), 1.0)


def extract(problem: Problem) -> Lookup | None:
    """The accuracy as an additive function if it is one, as a linear predictor's is; else None.

    Read off from subnets that differ from one of full depth in a single slot or in a unit's depth, and then
    tried on random ones.
    """
    family, at = problem.space.family, problem.space.layout
    fixed = np.zeros(len(family.resolutions))
    slots = np.zeros((len(fixed), at.slots, 1 + at.max_choices))
    widths = np.zeros((len(fixed), len(at.wide_units), at.most_widths))
    rng = np.random.default_rng(0)
    tried = problem.sample(16 * len(problem.resolutions), rng)
    for resolution in problem.resolutions:
        _read_off(problem, resolution, fixed, slots[resolution], widths[resolution])
        mine = tried[tried[:, 0] == resolution]
        found = _in_contexts(family, fixed, slots, widths)
        if len(mine) and np.abs(found.predict(mine) - problem.accuracy(mine)).max() > EXACT:
            return None
    return _in_contexts(family, fixed, slots, widths)


def _read_off(problem: Problem, resolution: int, fixed: Floats, slots: Floats, widths: Floats) -> None:
    """Fill in one resolution of an additive function."""
    at = problem.space.layout
    base = np.ones(at.columns, dtype=np.int16)
    base[0], base[1 + at.slots :] = resolution, 0
    rows = [base]
    for slot in range(at.slots):
        unit, _ = at.slot(slot)
        ended = base.copy()
        ended[1 + slot : at.place(unit).stop] = 0  # choice 0 ends the unit here
        rows.append(ended)
        for choice in range(1, 1 + int(at.choices[slot])):
            rows.append(base.copy())
            rows[-1][1 + slot] = choice
    for column, unit in enumerate(at.wide_units, start=1 + at.slots):
        for width in range(at.width_count(unit)):
            rows.append(base.copy())
            rows[-1][column] = width
    accuracy = problem.accuracy(np.array(rows))
    fixed[resolution] = accuracy[0]
    change = iter((accuracy[1:] - accuracy[0]).tolist())
    for slot in range(at.slots):
        slots[slot, : 1 + int(at.choices[slot])] = [next(change) for _ in range(1 + int(at.choices[slot]))]
    for place, unit in enumerate(at.wide_units):
        widths[place, : at.width_count(unit)] = [next(change) for _ in range(at.width_count(unit))]
    for unit in range(len(at.units)):
        # What ending a unit at one slot loses beyond ending it at the next.
        ends = slots[at.starts[unit] : at.starts[unit + 1], 0]
        ends[:-1] -= ends[1:].copy()
