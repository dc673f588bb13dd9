"""The choice among candidates goes by what they predicted unseen, and prefers the simple."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lut.predictors import choosing
from lut.predictors.choosing import choose, shift, simplest_of_the_best
from lut.scores import mape_pct, scores


@given(st.integers(0, 2**32))
def test_a_mean_is_taken_only_if_it_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    measured = rng.uniform(1, 2, 50)
    unseen = {name: measured * rng.normal(1, 0.1, 50).clip(0.5) for name in ("a", "b", "c")}
    weights = choose(unseen, measured)
    mean = sum(weight * unseen[name] for name, weight in weights.items())
    best = min(mape_pct(measured, ms) for ms in unseen.values())
    factor = sum(weights.values())
    assert abs(np.log(factor)) <= choosing.MOST_SHIFT + 1e-9
    most = best / choosing.CLEARLY * (1.0 if factor == pytest.approx(1) else choosing.WORTH)
    assert mape_pct(measured, mean) <= most + 1e-12


def test_errors_that_cancel_are_averaged_and_equal_ones_are_not() -> None:
    measured, wrong = np.ones(50), np.tile([0.1, -0.1], 25)
    assert choose({"a": 1 + wrong, "b": 1 - wrong}, measured) == {"a": 0.5, "b": 0.5}
    assert choose({"a": 1 + wrong, "b": 1 + 0.999 * wrong}, measured) == {"a": 1.0}


def test_a_simple_model_is_kept_unless_another_is_clearly_better() -> None:
    assert simplest_of_the_best({"simple": 1.0, "rich": 0.99}) == "simple"
    assert simplest_of_the_best({"simple": 1.0, "rich": 0.9}) == "rich"


def disturbed(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What was predicted, and measured: a fifth of the runs were disturbed and came out 5 to 25 % slower."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(5, 10, count)
    slower = np.where(rng.random(count) < 0.2, rng.uniform(1.05, 1.25, count), 1.0)
    return true, true * slower * np.exp(0.035 * rng.normal(size=count))


@pytest.mark.parametrize("seed", range(4))
def test_predictions_move_towards_disturbed_runs_if_that_brings_more_within_ten_percent(seed: int) -> None:
    true, measured = disturbed(900, seed)
    factor = shift(true, measured)
    assert 1.0 < factor < np.exp(choosing.MOST_SHIFT) + 1e-9
    other_true, other_measured = disturbed(4000, seed + 100)
    before, after = (scores(other_measured, f * other_true) for f in (1.0, factor))
    assert after["within_10_pct"] > before["within_10_pct"] + 0.5
    assert after["mape_pct"] < 1.08 * before["mape_pct"]


@pytest.mark.parametrize("noise", [0.004, 0.03, 0.1])
def test_predictions_do_not_move_where_nothing_is_to_be_won(noise: float) -> None:
    """Errors that are as often too large as too small: a factor would follow chance."""
    factors = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true = rng.uniform(5, 10, 300)
        factors.append(shift(true, true * np.exp(noise * rng.normal(size=300))))
    assert np.mean(np.array(factors) == 1.0) >= 0.8
