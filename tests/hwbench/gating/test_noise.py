"""Margins are what noise does to the scores, no more and no less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwbench.gating import noise
from hwbench.gating.golden import GoldenSet
from hwbench.gating.statistics import SCORES


def test_without_noise_the_least_margins_are_left(golden: GoldenSet) -> None:
    training, test = (replace(half, second_ms=half.first_ms) for half in (golden.training, golden.test))
    assert noise.margins(training, test, seed=0) == {key: score.margin for key, score in SCORES.items()}


def test_more_noise_makes_wider_margins(golden: GoldenSet) -> None:
    rng = np.random.default_rng(0)

    def noisier(half):
        times = np.array(half.first_ms)
        return replace(half, second_ms=tuple((times * rng.normal(1, 0.2, len(times))).tolist()))

    quiet = noise.margins(golden.training, golden.test, seed=0)
    loud = noise.margins(noisier(golden.training), noisier(golden.test), seed=0)
    assert all(loud[key] > quiet[key] for key in SCORES)
    assert quiet == noise.margins(golden.training, golden.test, seed=0)


def test_a_coin_gives_each_measurement_once(golden: GoldenSet) -> None:
    one, two = noise.swapped(golden.test, np.random.default_rng(0))
    both = np.array([golden.test.first_ms, golden.test.second_ms])
    np.testing.assert_array_equal(np.sort([one, two], axis=0), np.sort(both, axis=0))
    assert 0 < (one == both[0]).sum() < len(one)


def test_the_shipped_margins_are_those_of_the_data(golden: GoldenSet) -> None:
    found = noise.margins(golden.training, golden.test, seed=0)
    for key, margin in found.items():
        assert getattr(golden.entry.margins, key) == pytest.approx(margin, rel=0.01, abs=0.001)
