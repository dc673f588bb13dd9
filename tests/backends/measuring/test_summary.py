"""What is told of ratios: the median, an interval that holds another build's, and whether it is to be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from backends.measuring.pairing import Paired
from backends.measuring.rotation import copy_spread
from backends.measuring.summary import BETWEEN_BUILDS, summarise
from backends.measuring.timing import TimingSettings


def told(ratios: np.ndarray, spread: float = 0.0, reference_ms: float = 1.0, **settings: int):
    cases = len(ratios)
    paired = Paired(ratios, np.full(cases, 0.25), np.zeros(cases, dtype=bool), 1.1)
    return summarise(ratios, reference_ms, TimingSettings(**settings), paired=paired, spread=spread)


def test_the_summary_is_a_median_in_milliseconds() -> None:
    rng = np.random.default_rng(0)
    quiet, loud = rng.normal(10, 0.1, 11), rng.normal(10, 3, 11)
    first, second = told(np.array([quiet, loud]), reference_ms=0.2)
    assert first.latency_ms == np.median(quiet) * 0.2 and first.origin == "measured"
    assert first.low_ms < first.latency_ms < first.high_ms < 2.1
    assert first.rounds_ms == tuple(quiet * 0.2)
    assert not first.noisy and second.noisy
    assert dict(first.details) == {"left_out_pct": 25.0, "slowdown_pct": 10.0}


def test_rounds_without_a_clean_run_do_not_count() -> None:
    ratios = np.full((2, 11), 2.0)
    ratios[0, 3:] = np.nan
    few, all_ = told(ratios)
    assert few.latency_ms == all_.latency_ms == 2.0
    assert len(few.rounds_ms) == 3
    assert few.noisy and not all_.noisy


def test_nothing_measured_is_no_number() -> None:
    with pytest.raises(RuntimeError, match="clock"):
        told(np.full((1, 5), np.nan))
    assert told(np.empty((0, 9))) == []


@pytest.mark.parametrize("between", [0.0, 0.01, 0.03])
def test_an_interval_holds_another_build(between: float) -> None:
    """Builds that differ by more than their rounds do: copies of a block tell by how much, and the interval of one
    build holds the value of another 95 times of 100, and not always."""
    rng = np.random.default_rng(1)
    blocks, rounds = 400, 11

    def build():
        copies = rng.normal(5, 5 * np.hypot(between, BETWEEN_BUILDS) * np.sqrt(2), (2, blocks, 1))
        costs = copies + rng.normal(0, 0.03, (2, blocks, rounds))
        return told(costs.mean(axis=0), spread=copy_spread(costs))

    held = np.mean([a.low_ms <= b.latency_ms <= a.high_ms for a, b in zip(build(), build(), strict=True)])
    assert 0.90 <= held <= 0.995


def test_one_spike_moves_no_median() -> None:
    spiked = np.full((1, 9), 1.0)
    spiked[0, 4] = 50.0
    (found,) = told(spiked)
    assert found.latency_ms == 1.0 and not found.noisy
