"""Margins are what noise does to the scores, no more and no less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwbench.gating import noise
from hwbench.gating.golden import GoldenSet
from hwbench.gating.statistics import SCORES


def test_without_noise_the_least_margins_are_left(golden: GoldenSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "TOSSES", 10)
    training, test = (replace(half, second_ms=half.first_ms) for half in (golden.training, golden.test))
    assert noise.margins(training, test, seed=0) == {key: score.margin for key, score in SCORES.items()}


@pytest.fixture(scope="module")
def quiet(golden: GoldenSet) -> dict[str, float]:
    """The margins of the shipped data."""
    return noise.margins(golden.training, golden.test, seed=0)


def test_more_noise_makes_wider_margins(
    golden: GoldenSet, quiet: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "TOSSES", 30)
    rng = np.random.default_rng(0)

    def noisier(half):
        times = np.array(half.first_ms)
        return replace(half, second_ms=tuple((times * rng.normal(1, 0.2, len(times))).tolist()))

    loud = noise.margins(noisier(golden.training), noisier(golden.test), seed=0)
    assert all(loud[key] > quiet[key] for key in SCORES)


def test_the_same_seed_tosses_the_same_coins(golden: GoldenSet) -> None:
    some = [noise.swapped(golden.test, np.random.default_rng(0)) for _ in range(2)]
    np.testing.assert_array_equal(some[0], some[1])


def test_a_coin_gives_each_measurement_once(golden: GoldenSet) -> None:
    one, two = noise.swapped(golden.test, np.random.default_rng(0))
    both = np.array([golden.test.first_ms, golden.test.second_ms])
    np.testing.assert_array_equal(np.sort([one, two], axis=0), np.sort(both, axis=0))
    assert 0 < (one == both[0]).sum() < len(one)


def test_the_shipped_margins_are_those_of_the_data(golden: GoldenSet, quiet: dict[str, float]) -> None:
    for key, margin in quiet.items():
        assert getattr(golden.entry.margins, key) == pytest.approx(margin, rel=0.01, abs=0.001)
