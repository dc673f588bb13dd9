"""Has a model become worse? Paired bootstrap of the change of a score, and Holm's correction.

A subnet is drawn together with what both versions of the model say of it, so what makes it hard to predict,
its own measurement's noise included, is in both and cancels (paired bootstrap: Efron & Tibshirani 1993,
chapter 8). Several targets, models and scores are several chances to be red by accident: Holm 1979 keeps the
chance of any at the stated level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lut.model import Floats

LEVEL = 0.05
"""Of the whole gate: one minus the confidence of its bounds."""
RESAMPLES = 4999


@dataclass(frozen=True)
class Score:
    """A figure of merit.

    Args:
        title: for people.
        unit: behind the figure.
        sign: +1 if more is worse, -1 if less is worse.
        digits: after the point.
        margin: the least change for the worse that is worth speaking of, however little noise there is.
        of: from measured and predicted latencies, each of shape (..., n), the score of each row, shape (...,).
    """

    title: str
    unit: str
    digits: int
    sign: int
    margin: float
    of: Callable[[Floats, Floats], Floats]


def _mape_pct(measured: Floats, predicted: Floats) -> Floats:
    return 100 * np.abs(predicted / measured - 1).mean(axis=-1)


def _bias_pct(measured: Floats, predicted: Floats) -> Floats:
    return 100 * np.abs((predicted / measured - 1).mean(axis=-1))


def _within_10_pct(measured: Floats, predicted: Floats) -> Floats:
    return 100 * (np.abs(predicted / measured - 1) <= 0.10).mean(axis=-1)


def _spearman(measured: Floats, predicted: Floats) -> Floats:
    """0 where either side is constant: nothing is ranked then."""
    from scipy.stats import rankdata

    one, two = (rankdata(values, axis=-1) for values in (measured, predicted))
    one, two = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (one, two))
    size = np.sqrt((one**2).sum(axis=-1) * (two**2).sum(axis=-1))
    return np.divide((one * two).sum(axis=-1), size, out=np.zeros_like(size), where=size > 0)


SCORES: dict[str, Score] = {
    "mape_pct": Score("MAPE", " %", 2, +1, 0.25, _mape_pct),
    "bias_pct": Score("bias", " %", 2, +1, 0.25, _bias_pct),
    "within_10_pct": Score("within 10 %", " %", 1, -1, 1.0, _within_10_pct),
    "spearman": Score("Spearman", "", 3, -1, 0.002, _spearman),
}
"""By the names of the fields of :class:`hwbench.gating.golden.Figures`. The bias, the mean error with its sign,
is where a wrong factor shows first: the errors of the mean cancel, those of the MAPE do not."""


@dataclass(frozen=True)
class Judged:
    """Predictions beside what they are judged by, both of shape (n,)."""

    measured_ms: Floats
    predicted_ms: Floats

    def __getitem__(self, index: NDArray[np.intp]) -> Judged:
        return Judged(self.measured_ms[index], self.predicted_ms[index])


@dataclass(frozen=True)
class Change:
    """How a score changed.

    Args:
        before, after: the score.
        least: how much worse it became at least, with confidence 1 - LEVEL; None if it is not worse by more
            than the margin anyway: then there is nothing to test.
        p: of the hypothesis that it became worse by no more than the margin; 1 if there is nothing to test,
            which makes Holm's correction of the others stricter, not weaker.
    """

    before: float
    after: float
    least: float | None = None
    p: float = 1.0


def change(score: Score, before: Judged, after: Judged, margin: float, picks: NDArray[np.intp]) -> Change:
    """How `score` changed from `before` to `after`, subnet by subnet the same networks.

    Args:
        score: which.
        before, after: n subnets each.
        margin: of a change for the worse that is put up with.
        picks: indices of bootstrap samples, shape (resamples, n), as :func:`draw` gives them.
    """
    old, new = (float(score.of(j.measured_ms, j.predicted_ms)) for j in (before, after))
    if score.sign * (new - old) <= margin:
        return Change(old, new)
    resampled = [score.of(j.measured_ms[picks], j.predicted_ms[picks]) for j in (before, after)]
    worse = score.sign * (resampled[1] - resampled[0])
    p = (1 + int((worse <= margin).sum())) / (1 + len(picks))
    return Change(old, new, float(np.quantile(worse, LEVEL)), p)


def draw(count: int, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.intp]:
    """Bootstrap samples of `count` subnets as indices, shape (resamples, count)."""
    return np.random.default_rng(seed).integers(count, size=(resamples, count))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: each may be compared with the level of the whole family."""
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted
