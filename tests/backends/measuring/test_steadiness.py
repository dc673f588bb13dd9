"""What pairing makes of a machine: drift that hits both is no drift, drift that hits one is."""

from __future__ import annotations

import numpy as np
import pytest

from backends.measuring.steadiness import SPREAD_LIMIT, Steadiness, observe


def seen(simulated, slowdown, only: bool = False) -> Steadiness:
    device = simulated(slowdown=slowdown)
    reference = simulated().case("reference", 0.05) if only else device.case("reference", 0.05)
    return observe(3, device.case("work", 0.1), reference)


def test_a_steady_machine(simulated) -> None:
    found = seen(simulated, lambda now: 1.0)
    assert found.steady and found.ratio_drift == pytest.approx(0, abs=1e-9) and found.left_out == 0


def test_drift_that_hits_both_cancels(simulated) -> None:
    found = seen(simulated, lambda now: 1 + now / 10)
    assert found.steady


def test_drift_that_hits_one_is_seen(simulated) -> None:
    found = seen(simulated, lambda now: 1 + now / 10, only=True)
    assert not found.steady and found.ratio_drift > SPREAD_LIMIT


def test_spread_and_drift_of_lone_times_are_told_apart() -> None:
    ratios = np.ones(10)
    jumping = Steadiness(np.tile([1.0, 1.2], 500), ratios, 0.0)
    assert jumping.lone_spread > 0.1 and jumping.lone_drift < 0.1
    slower = Steadiness(np.repeat([1.0] * 9 + [1.3], 50), ratios, 0.0)
    assert slower.lone_spread == 0 and slower.lone_drift == pytest.approx(0.3)


def test_this_machine_can_be_observed() -> None:
    """On however busy a machine: what is asked is that it says something, not what."""
    found = observe(0.2)
    assert (found.lone_ms > 0).all() and len(found.ratios) == 10
    assert found.ratio_drift >= 0 and 0 <= found.left_out <= 1
