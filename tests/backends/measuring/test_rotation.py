"""A block's cost by its copies in a rotation, whatever part of the runs a busy machine spoils."""

from __future__ import annotations

import numpy as np
import pytest

from backends.measuring import rotation
from backends.measuring.reference import Beside, Reference
from backends.measuring.rotation import EMPTY, Bench, copy_spread, mean_of_known
from backends.measuring.timing import TimingSettings
from compofa.blocks import Block

BLOCKS = [Block("pool", (channels, 1, 1), channels) for channels in (2, 3)]
COST_MS = {EMPTY: 0.01, **{block: 3.7 * i for i, block in enumerate(BLOCKS, start=1)}}


@pytest.mark.parametrize("clean", [1.0, 0.8, 0.5, 0.3])
def test_however_busy_the_machine_blocks_are_measured(simulated, clean: float) -> None:
    """Each run is in peace with a probability; that all copies are in one round is rare. (In processor time, what a run
    waits does not count.)"""
    rng = np.random.default_rng(0)
    device = simulated(disturbed=lambda now: 0.0 if rng.random() < clean else 1e-9)
    bench = Bench(
        lambda network, seed: device.case(str(network), COST_MS[network[0]]),
        Beside(device.pacer(), Reference(0.2, 0.2, 0.2)),
    )
    found, _ = bench.blocks(BLOCKS, TimingSettings(rotation=24, round_ms=2.0, rounds=7))
    for block, m in zip(BLOCKS, found, strict=True):
        assert m.latency_ms == pytest.approx(COST_MS[block] - COST_MS[EMPTY], rel=0.02)


@pytest.mark.parametrize(
    ("each", "together"), [(0, 49), (rotation.MAX_BYTES // 10, 11), (rotation.MAX_BYTES, 3)]
)
def test_no_more_is_held_than_fits(simulated, each: int, together: int) -> None:
    device, ready = simulated(), []

    def make(network, seed):
        ready.append(network[0])
        return device.case(str(network), COST_MS[network[0]])

    bench = Bench(make, Beside(device.pacer(), Reference(0.2, 0.2, 0.2)), holds=lambda block: each)
    found, timing_s = bench.blocks(BLOCKS, TimingSettings(rotation=48, round_ms=2.0, rounds=3))
    rotations = "".join("|" if block == EMPTY else "x" for block in ready).split("|")[1:]
    assert max(len(some) for some in rotations) + 1 == together and timing_s > 0
    for block, m in zip(BLOCKS, found, strict=True):
        assert m.latency_ms == pytest.approx(COST_MS[block] - COST_MS[EMPTY], rel=0.02)


def test_the_mean_is_over_the_copies_that_are_known() -> None:
    nan = np.nan
    costs = np.array([[[1.0, 2.0, nan]], [[3.0, nan, nan]]])
    np.testing.assert_array_equal(mean_of_known(costs), [[2.0, 2.0, nan]])


def test_copies_without_a_clean_run_tell_no_spread() -> None:
    rng = np.random.default_rng(0)
    costs = rng.normal(5, 0.1, (3, 40, 9))
    spoiled = costs.copy()
    spoiled[0, :10] = np.nan
    assert copy_spread(spoiled) == pytest.approx(copy_spread(costs), rel=0.5)
    assert copy_spread(np.full((3, 2, 4), np.nan)) == 0.0
