"""Repeatability: a steady machine is told from a jumping and from a drifting one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from backends.repeatability import DRIFT_LIMIT, SPREAD_LIMIT, Repeatability, observe


def simulated(each_s: Iterator[float]):
    """A case and the clock it moves: the n-th inner loop takes the n-th time for each run of the work."""
    now = [0.0]

    def case(repeats: int) -> float:
        seconds = repeats * next(each_s)
        now[0] += seconds
        return seconds

    return case, lambda: now[0]


def test_a_steady_machine() -> None:
    found = observe(3, *simulated(itertools.repeat(2e-5)))
    assert found.steady
    assert found.spread == found.drift == pytest.approx(0)
    np.testing.assert_allclose(found.readings_ms, 0.02)
    assert 2000 <= len(found.readings_ms) <= 3001  # about a millisecond each


def test_jumps_and_drift_are_told_apart() -> None:
    jumping = observe(1, *simulated(itertools.cycle([2e-5, 2.4e-5])))
    assert jumping.spread > SPREAD_LIMIT and not jumping.steady
    slower = Repeatability(np.repeat([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.3], 50))
    assert slower.spread == 0
    assert slower.drift == pytest.approx(0.3) and slower.drift > DRIFT_LIMIT and not slower.steady


def test_a_few_interruptions_are_put_up_with() -> None:
    readings = np.ones(1000)
    readings[::100] = 10
    assert Repeatability(readings).steady


def test_work_slower_than_the_time_given_is_still_repeated() -> None:
    found = observe(0.1, *simulated(itertools.repeat(0.05)))
    assert len(found.readings_ms) == 10


def test_this_machine_can_be_observed() -> None:
    found = observe(0.05)
    assert (found.readings_ms > 0).all()
