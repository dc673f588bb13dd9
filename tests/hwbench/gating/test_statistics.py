"""The scores are the usual ones; the bootstrap finds what is there and little else; Holm as published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hwbench.gating.statistics import LEVEL, SCORES, Judged, change, draw, holm
from lut.scores import scores


def judged(rng: np.random.Generator, n: int, bias: float = 0.0, noise: float = 0.02) -> Judged:
    measured = rng.uniform(1, 3, n)
    return Judged(measured, measured * rng.normal(1 + bias, noise, n))


@given(seed=st.integers(0, 2**32), n=st.integers(3, 40))
def test_scores_are_those_of_validate(seed: int, n: int) -> None:
    sample = judged(np.random.default_rng(seed), n, 0.03, 0.08)
    expected = scores(sample.measured_ms, sample.predicted_ms)
    for key in ("mape_pct", "within_10_pct", "spearman"):
        assert float(SCORES[key].of(sample.measured_ms, sample.predicted_ms)) == pytest.approx(expected[key])


def test_spearman_of_many_samples_at_once_with_ties() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 5, (2, 20, 12)).astype(float)
    found = SCORES["spearman"].of(one, two)
    np.testing.assert_allclose(found, [spearmanr(a, b).statistic for a, b in zip(one, two, strict=True)])
    assert SCORES["spearman"].of(np.ones(4), np.arange(4.0)) == 0


def test_bias_has_no_sign_and_cancels() -> None:
    measured = np.array([1.0, 2.0])
    of = SCORES["bias_pct"].of
    assert of(measured, measured * 0.9) == pytest.approx(10)
    assert of(measured, measured * [0.9, 1.1]) == pytest.approx(0)


@pytest.mark.parametrize("key", SCORES)
def test_an_improvement_is_never_a_regression(key: str) -> None:
    rng = np.random.default_rng(1)
    measured = rng.uniform(1, 3, 50)
    bad = Judged(measured, measured * rng.normal(1.15, 0.25, 50))
    good = Judged(measured, measured * rng.normal(1, 0.01, 50))
    picks = draw(50)
    assert change(SCORES[key], bad, good, SCORES[key].margin, picks).p == 1
    worse = change(SCORES[key], good, bad, SCORES[key].margin, picks)
    assert worse.p < 0.01
    assert worse.least is not None and worse.least > SCORES[key].margin
    assert change(SCORES[key], good, good, 0.0, picks).p == 1


def test_a_change_within_chance_is_seldom_called_a_regression() -> None:
    """Both sides are equally good, each with errors of its own: the share of red tests is near the level, though
    no margin is granted."""
    rng = np.random.default_rng(2)
    picks = draw(60, resamples=499)
    red = 0
    for _ in range(200):
        measured = rng.uniform(1, 3, 60)
        before, after = (Judged(measured, measured * rng.normal(1, 0.04, 60)) for _ in range(2))
        red += change(SCORES["mape_pct"], before, after, 0.0, picks).p < LEVEL
    assert red <= 0.08 * 200


def test_pairing_finds_what_unpaired_errors_would_hide() -> None:
    rng = np.random.default_rng(3)
    measured = rng.uniform(1, 3, 40)
    noise = rng.normal(0, 0.05, 40)
    before = Judged(measured, measured * (1 + np.abs(noise)))
    after = Judged(measured, measured * (1.005 + np.abs(noise)))
    found = change(SCORES["mape_pct"], before, after, 0.25, draw(40))
    assert found.after - found.before == pytest.approx(0.5, abs=0.01)
    assert found.p < 0.001


def test_holm_as_published() -> None:
    """By hand: sorted .005 .01 .03 .04 times 4 3 2 1, then never below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_between_nothing_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(one <= two <= min(1, len(p) * one) + 1e-12 for one, two in zip(p, adjusted, strict=True))
    order = sorted(range(len(p)), key=lambda i: p[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)
