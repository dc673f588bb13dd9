"""How far measured networks lay from predictions that did not know them, and where they lay far (what bounds rest on:
:mod:`lut.promise`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from compofa.spaces.family import Family
from compofa.spaces.layout import encode
from lut import laws, model
from lut.calibration import Calibration

Floats = NDArray[np.float64]

FOLDS = 10
"""Of the cross-validation: in each the terms of the model are chosen anew, too."""
FLOORS = (0.0, 0.5, 1.0)
"""Shares of the spread that are the same milliseconds for every network; the rest grows with the latency."""
SHAPED_FROM = 40
"""Networks; of fewer, chance chooses the shape."""
CLEARLY = 0.02
"""A richer shape of the residuals must tell them better by so much of their size."""


@dataclass(frozen=True)
class Residuals:
    """How far measurements lay from predictions that did not know them.

    Args:
        family: of the networks.
        predicted_ms: shape (networks,).
        ratios: measured over predicted, of each time that a network was measured, shape (networks, passes).
        sides: index of each network's resolution, shape (networks,).
    """

    family: Family
    predicted_ms: Floats
    ratios: Floats
    sides: NDArray[np.intp]

    @classmethod
    def of(cls, calibration: Calibration) -> Self:
        """Those of a calibration."""
        values = model.features(calibration.table, calibration.networks)
        measured = calibration.measured_ms
        predicted = np.empty_like(measured)
        for fold in range(FOLDS):
            out = np.arange(len(measured)) % FOLDS == fold
            predicted[out] = laws.predict_unseen(values[~out], measured[~out], values[out])
        passes = [calibration.first_ms, *([calibration.second_ms] if calibration.second_ms else [])]
        family = calibration.table.family_as_built
        sides = encode(family, calibration.archs)[:, 0].astype(np.intp)
        return cls(family, predicted, np.array(passes).T / predicted[:, None], sides)

    def __len__(self) -> int:
        return len(self.predicted_ms)

    @cached_property
    def levels(self) -> Floats:
        """Each pass against the mean of all, by the median network, shape (passes,)."""
        level: Floats = np.median(self.ratios / self.ratios.mean(axis=1, keepdims=True), axis=0)
        return level

    @cached_property
    def across(self) -> Floats:
        """Errors of each pass against what the other passes would have predicted, shape (networks, passes)."""
        if self.ratios.shape[1] < 2:
            return self.ratios - 1
        others = (self.levels.sum() - self.levels) / (len(self.levels) - 1)
        error: Floats = self.ratios / others - 1
        return error

    @cached_property
    def within(self) -> Floats:
        """Errors of each pass against what the same pass would have predicted, shape (networks, passes)."""
        error: Floats = self.ratios / self.levels - 1
        return error

    @cached_property
    def others(self) -> Floats:
        """What the other passes say each network is off by, shape (networks, passes); zeros if there is one pass."""
        passes = self.ratios.shape[1]
        found: Floats = (self.within.sum(axis=1, keepdims=True) - self.within) / max(passes - 1, 1)
        return found


@dataclass(frozen=True)
class Shape:
    """Where residuals are large.

    Args:
        offsets: the typical error at each resolution of the family, shape (resolutions,).
        floor: share of the spread that does not grow with the latency, one of :data:`FLOORS`.
        typical_ms: the latency at which `floor` does not matter.
    """

    offsets: Floats
    floor: float
    typical_ms: float

    def spread(self, predicted_ms: Floats) -> Floats:
        """Of the error, relative to that at :attr:`typical_ms`; shape as `predicted_ms`."""
        return self.floor * self.typical_ms / predicted_ms + 1 - self.floor

    @classmethod
    def choose(cls, residuals: Residuals) -> tuple[Self, Floats]:
        """The shape that tells the residuals of networks best from those of the others, by the likelihood of a
        Laplace distribution, simplest first; and each network's offset by the others, shape (networks,)."""
        error = residuals.within
        typical = float(np.median(residuals.predicted_ms))
        none = np.zeros(len(residuals)), np.zeros(len(residuals.family.resolutions))
        found, least = (cls(none[1], 0.0, typical), none[0]), math.inf
        if len(residuals) < SHAPED_FROM:
            return found
        for seen, offsets in (none, _offsets(residuals)):
            for floor in FLOORS:
                shape = cls(offsets, floor, typical)
                spread = shape.spread(residuals.predicted_ms)
                size = np.abs((error - seen[:, None]) / spread[:, None]).mean()
                value = math.log(max(float(size), 1e-12)) + float(np.log(spread).mean())
                if value < least - CLEARLY:
                    found, least = (shape, seen), value
        return found


def _offsets(residuals: Residuals) -> tuple[Floats, Floats]:
    """The mean error at each network's resolution by the other networks, shape (networks,), and at each resolution,
    shape (resolutions,): drawn to zero as far as chance explains them (empirical Bayes, James and Stein 1961)."""
    error, sides = residuals.within.mean(axis=1), residuals.sides
    resolutions = len(residuals.family.resolutions)
    count = np.bincount(sides, minlength=resolutions)
    total = np.bincount(sides, weights=error, minlength=resolutions)
    some = count > 1
    if some.sum() < 2:
        return np.zeros(len(error)), np.zeros(resolutions)
    mean = total / np.maximum(count, 1)
    inside = float(((error - mean[sides]) ** 2).sum() / max(len(error) - some.sum(), 1))
    between = float(np.mean(mean[some] ** 2 - inside / count[some]))
    pull = inside / max(between, 1e-12)
    return (total[sides] - error) / (count[sides] - 1 + pull), total / (count + pull)
