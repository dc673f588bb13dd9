"""How good a predictor gets with more measured subnets, and how many a wanted error takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compofa.accuracy.candidates import CANDIDATES
from compofa.accuracy.fitting import MIN_SUBNETS, Measured, scores
from compofa.accuracy.folds import group

REPEATS = 3
MOST = 0.8
"""Share of the subnets that is fitted to at most; the others test."""
FARTHEST = 10
"""Times as many subnets as the curve was measured with, beyond which it says nothing."""


@dataclass(frozen=True)
class Point:
    """Errors after so many subnets, on others, unlike them.

    Args:
        subnets: that were fitted to.
        mae: mean absolute error, as a fraction.
        spearman: rank correlation.
    """

    subnets: int
    mae: float
    spearman: float


@dataclass(frozen=True)
class LearningCurve:
    """Measured points, by rising number of subnets, and ``floor + scale * subnets^-rate`` through them."""

    points: tuple[Point, ...]

    @cached_property
    def law(self) -> tuple[float, float, float]:
        """Floor, scale and rate; from fewer than three points with no floor and the rate of a mean, 1/2."""
        from scipy.optimize import least_squares

        count = np.log([point.subnets for point in self.points])
        error = np.log([max(point.mae, 1e-12) for point in self.points])
        start = float((error + count / 2).mean())
        if len(self.points) < 3:
            return 0.0, math.exp(start), 0.5
        least = float(np.exp(error.min()))

        def misses(values: np.ndarray) -> np.ndarray:
            floor, scale, rate = values
            found: np.ndarray = np.log(floor * least + np.exp(scale - rate * count)) - error
            return found

        found = least_squares(misses, [0.1, start, 0.5], bounds=([0, -np.inf, 0.05], [0.95, np.inf, 2.0]))
        floor, scale, rate = found.x.tolist()
        return floor * least, math.exp(scale), rate

    def fewest(self, mae: float) -> int | None:
        """The fewest subnets for an error of `mae`, as a fraction, by the law; None if it is not reached with
        :data:`FARTHEST` times the subnets that were measured."""
        floor, scale, rate = self.law
        if mae <= floor:
            return None
        needed = max(math.ceil(((mae - floor) / scale) ** (-1 / rate)), MIN_SUBNETS)
        return needed if needed <= FARTHEST * self.points[-1].subnets else None

    def is_extrapolated(self, subnets: int) -> bool:
        """Whether so many subnets are more than were measured with."""
        return subnets > self.points[-1].subnets


def sizes(count: int) -> Sequence[int]:
    """Numbers of subnets, each twice the one before it, up to :data:`MOST` of `count`, which is the last."""
    most = round(MOST * count)
    doubled = [MIN_SUBNETS * 2**k for k in range(30) if MIN_SUBNETS * 2**k <= 0.75 * most]
    return [*doubled, most]


def learning_curve(data: Measured, model: str, seed: int) -> LearningCurve:
    """The curve of a candidate, by its name; subnets that differ in one choice never stand on both sides.

    Args:
        data: measured subnets.
        model: of :data:`compofa.accuracy.candidates.CANDIDATES`.
        seed: of what is drawn.
    """
    (candidate,) = (each for each in CANDIDATES if each.name == model)
    groups, _ = group(data.genotypes)
    found: dict[int, list[tuple[float, float]]] = {}
    for repeat in range(REPEATS):
        rng = np.random.default_rng((seed, repeat))
        order = np.argsort(rng.permutation(int(groups.max()) + 1)[groups], kind="stable")
        for size in sizes(len(groups)):
            others = ~np.isin(groups, groups[order[:size]])
            if others.sum() < 2:
                continue
            predicted, _ = data.fit(candidate, order[:size], others, seed)
            scored = scores(data.accuracy[others], predicted)
            found.setdefault(size, []).append((scored["mae"], scored["spearman"]))
    return LearningCurve(tuple(Point(n, *map(float, np.mean(each, axis=0))) for n, each in found.items()))
