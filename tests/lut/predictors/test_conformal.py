"""Intervals hold what they promise, and are narrow where the device is predictable."""

from __future__ import annotations

import numpy as np
import pytest

from lut.predictors.base import Floats, Rows
from lut.predictors.conformal import Conformal, checked_coverage


def noisy_device(count: int, seed: int) -> tuple[Rows, Floats, Floats]:
    """Rows, measured and predicted ms: few launches are timed ten times as exactly as many."""
    rng = np.random.default_rng(seed)
    launches = rng.integers(5, 15, count).astype(float)
    predicted = rng.uniform(1, 2, count)
    noise = np.where(launches < 10, 0.01, 0.1)
    rows = Rows(
        {"launches": np.column_stack([np.ones(count), launches]), "work": predicted[:, None]},
        launches[:, None],
        predicted,
    )
    return rows, predicted * np.exp(noise * rng.standard_t(5, count)), predicted


def covered(conformal: Conformal, rows: Rows, measured: Floats, predicted: Floats, coverage: float) -> Floats:
    low, high = conformal.interval(rows, predicted, coverage)
    assert (low < predicted).all() and (predicted < high).all()
    return (low <= measured) & (measured <= high)


@pytest.mark.parametrize("count", [30, 100, 400])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_the_promised_share_is_held(count: int, coverage: float) -> None:
    rows, measured, predicted = noisy_device(1000, seed=99)
    shares = [
        covered(Conformal(*noisy_device(count, seed)), rows, measured, predicted, coverage).mean()
        for seed in range(8)
    ]
    assert np.mean(shares) == pytest.approx(coverage, abs=0.03)


def test_intervals_follow_the_difficulty() -> None:
    rows, measured, predicted = noisy_device(1000, seed=99)
    conformal = Conformal(*noisy_device(400, 0))
    low, high = conformal.interval(rows, predicted, 0.9)
    hard = rows.general[:, 0] >= 10
    width = np.log(high / low)
    assert np.median(width[hard]) > 4 * np.median(width[~hard])
    held = covered(conformal, rows, measured, predicted, 0.9)
    assert min(held[hard].mean(), held[~hard].mean()) > 0.8


@pytest.mark.parametrize(
    ("coverage", "message"),
    [(0.0, "above 0 and below 1"), (1.0, "above 0 and below 1"), (0.99, "promise no coverage above 0.968")],
)
def test_what_cannot_be_promised_is_refused(coverage: float, message: str) -> None:
    rows, measured, predicted = noisy_device(30, 0)
    with pytest.raises(ValueError, match=message):
        Conformal(rows, measured, predicted).interval(rows, predicted, coverage)


def test_the_coverage_is_checked_on_other_rows() -> None:
    rows, measured, predicted = noisy_device(300, 0)
    assert checked_coverage(rows, measured, predicted, 0.9) == pytest.approx(90, abs=4)
