"""Functions that are additive over a subnet's blocks, as latency is and accuracy nearly is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compofa.families import Family
from compofa.genotype import Genotypes

if TYPE_CHECKING:
    from hwbench.searching.problem import Problem

Floats = NDArray[np.float64]

RIDGE = 1.0
EXACT = 2e-6
"""The largest error of an accuracy in single precision that still counts as rounding."""


@dataclass(frozen=True)
class Additive:
    """``fixed[resolution] + sum over slots of slots[resolution, slot, choice]``.

    Args:
        fixed: shape (resolutions,).
        slots: shape (resolutions, slots, 1 + choices); choice 0 is an inactive slot.
    """

    fixed: Floats
    slots: Floats

    def __call__(self, genotypes: Genotypes) -> Floats:
        """Values (n,) of genotypes (n, 1 + slots)."""
        resolution = genotypes[:, 0].astype(np.intp)
        slot = np.arange(self.slots.shape[1])
        return self.fixed[resolution] + self.slots[resolution[:, None], slot, genotypes[:, 1:]].sum(1)

    def of_unit(self, resolution: int, places: NDArray[np.intp]) -> Floats:
        """What each way to fill a unit adds, shape (n,), from :attr:`Problem.places` of the unit, (max_depth, n)."""
        values: Floats = self.slots[resolution].ravel().take(places, mode="clip").sum(0)
        return values


def weighted(parts: tuple[Additive, ...], weights: Floats) -> Additive:
    """The weighted sum of some additive functions; infinite where one of them is, whatever its weight."""

    def add(values: list[Floats]) -> Floats:
        finite = (w * np.where(np.isinf(v), 0.0, v) for v, w in zip(values, weights.tolist(), strict=True))
        total: Floats = sum(finite, start=np.zeros_like(values[0]))
        return np.where(np.any(np.isinf(values), axis=0), np.inf, total)

    return Additive(add([part.fixed for part in parts]), add([part.slots for part in parts]))


def fit(family: Family, genotypes: Genotypes, accuracy: Floats, weight: Floats) -> Additive:
    """The additive function closest to the accuracies of some subnets, by ridge regression.

    Each choice of each slot has an effect, and one that grows linearly with the resolution.

    Args:
        family: whose subnets.
        genotypes: shape (n, 1 + slots).
        accuracy: theirs, shape (n,).
        weight: what each counts, shape (n,).
    """
    choices = 1 + len(family.kernels) * len(family.expands)
    level = _level(np.array(family.resolutions, dtype=float))
    one_hot = np.eye(choices, dtype=np.float32)[genotypes[:, 1:]].reshape(len(genotypes), -1)
    at = np.eye(len(family.resolutions), dtype=np.float32)[genotypes[:, 0]]
    x = np.hstack([at, one_hot, level[genotypes[:, 0], None].astype(np.float32) * one_hot])
    mean = accuracy.mean()
    # A matrix times its own transpose is done in half the time.
    x *= np.sqrt(weight[:, None]).astype(np.float32)
    gram = (x.T @ x).astype(float)
    gram[np.diag_indices_from(gram)] += RIDGE
    wanted = x.T @ (np.sqrt(weight) * (accuracy - mean)).astype(np.float32)
    weights = np.linalg.solve(gram, wanted.astype(float))
    resolutions, width = len(family.resolutions), one_hot.shape[1]
    shared, slope = (part.reshape(family.slots, choices) for part in weights[resolutions:].reshape(2, width))
    return Additive(mean + weights[:resolutions], shared + level[:, None, None] * slope)


def _level(resolutions: Floats) -> Floats:
    """Resolutions, centred and of size one."""
    centred = resolutions - resolutions.mean()
    return centred / max(float(np.abs(centred).max()), 1.0)


def extract(problem: Problem) -> Additive | None:
    """The accuracy as an additive function if it is one, as a linear predictor's is; else None.

    Read off from subnets that differ from one of full depth in a single slot or in a unit's depth, and then
    tried on random ones.
    """
    family = problem.space.family
    resolutions, choices = len(family.resolutions), 1 + len(family.kernels) * len(family.expands)
    found = Additive(np.zeros(resolutions), np.zeros((resolutions, family.slots, choices)))
    rng = np.random.default_rng(0)
    tried = problem.sample(16 * len(problem.resolutions), rng)
    for resolution in problem.resolutions:
        _read_off(problem, resolution, found)
        mine = tried[tried[:, 0] == resolution]
        if len(mine) and np.abs(found(mine) - problem.accuracy(mine)).max() > EXACT:
            return None
    return found


def _read_off(problem: Problem, resolution: int, into: Additive) -> None:
    """Fill in one resolution of `into`."""
    family = problem.space.family
    depth, choices = family.max_depth, into.slots.shape[2]
    base = np.ones(1 + family.slots, dtype=np.int16)
    base[0] = resolution
    rows = np.repeat(base[None], 1 + family.slots * choices, axis=0)
    for slot in range(family.slots):
        unit = slot // depth
        start = 1 + slot * choices
        rows[start, 1 + slot : 1 + (unit + 1) * depth] = 0  # choice 0 ends the unit here
        rows[start + 1 : start + choices, 1 + slot] = np.arange(1, choices)
    accuracy = problem.accuracy(rows)
    into.fixed[resolution] = accuracy[0]
    change = (accuracy[1:] - accuracy[0]).reshape(family.slots, choices)
    # What ending a unit at one slot loses beyond ending it at the next.
    ends = change[:, 0].reshape(-1, depth)
    ends[:, :-1] -= ends[:, 1:].copy()
    into.slots[resolution] = change
