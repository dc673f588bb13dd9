"""What the noise of the measurements alone does to each score: the least change worth speaking of.

Each subnet was measured twice. Toss a coin for each, fit the calibrated table on and judge it by the measurement
that comes up, do the same with the other one: two verdicts on one model that differ by noise only.
"""

from __future__ import annotations

import numpy as np

from hwbench.gating.statistics import SCORES
from lut import model
from lut.calibration import Calibration
from lut.model import Floats

TOSSES = 100
QUANTILE = 0.95
"""Of the changes for the worse that noise makes, the one that is taken for the margin."""


def swapped(calibration: Calibration, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The two measurements of each subnet in random order, each of shape (subnets,)."""
    both = np.array([calibration.first_ms, calibration.second_ms])
    coin = rng.integers(2, size=both.shape[1])
    columns = np.arange(both.shape[1])
    return both[coin, columns], both[1 - coin, columns]


def margins(training: Calibration, test: Calibration, seed: int) -> dict[str, float]:
    """By score: what noise alone makes it worse by in one of twenty cases, and no less than the score's own
    margin.

    Args:
        training, test: the halves of a golden set.
        seed: of the coins.
    """
    rng = np.random.default_rng(seed)
    fitted, asked = (model.features(half.table, half.networks) for half in (training, test))
    worse: dict[str, list[float]] = {key: [] for key in SCORES}
    for _ in range(TOSSES):
        verdicts = []
        for known, truth in zip(swapped(training, rng), swapped(test, rng), strict=True):
            weights = model.fit(fitted, known, model.choose_terms(fitted, known))
            verdicts.append({key: float(s.of(truth, asked @ weights)) for key, s in SCORES.items()})
        for key, score in SCORES.items():
            worse[key].append(score.sign * (verdicts[1][key] - verdicts[0][key]))
    return {key: max(score.margin, float(np.quantile(worse[key], QUANTILE))) for key, score in SCORES.items()}
