"""Tuning in a child process: recorded as it comes, never done twice, told by every measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.base import Measurement, Settings
from backends.measuring.timing import TimingSettings
from backends.tvm.backend import TvmBackend
from backends.tvm.library import find
from backends.tvm.tuning import read_trials
from compofa.blocks import Block

pytestmark = [pytest.mark.needs_tvm, pytest.mark.slow]

QUICK = TimingSettings(rounds=3, rotation=4, max_warmup_ms=5.0)
BLOCK = Block("conv", (16, 14, 14), 64, act="relu")
SAME_OPERATOR = Block("mbconv", (16, 14, 14), 16, 64, kernel=3, act="relu", shortcut=True)
"""Its expanding convolution is the operator of BLOCK."""


def backend(folder: Path, trials: int) -> TvmBackend:
    options = {"tune": str(trials), "tuning_database": str(folder)}
    return TvmBackend(Settings(options=options), block_timing=QUICK, network_timing=QUICK)


def trials_of(measurement: Measurement) -> object:
    return dict(measurement.details)["tuning_trials"]


def test_operators_are_tuned_once_and_go_on_where_the_last_tuning_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "database"
    (measurement,) = backend(folder, 4).block_latencies([BLOCK])
    assert trials_of(measurement) == 4
    assert list(read_trials(folder).values()) == [4]
    records = (folder / "records.json").read_text()
    assert records

    (again,) = backend(folder, 4).block_latencies([BLOCK])
    assert trials_of(again) == 4
    assert (folder / "records.json").read_text() == records

    some = backend(folder, 6)
    found = some.block_latencies([BLOCK, SAME_OPERATOR])
    assert [trials_of(m) for m in found] == [6, 6]
    trials = read_trials(folder)
    assert set(trials.values()) == {6} and len(trials) == 3
    assert (folder / "records.json").read_text().startswith(records)

    untuned = TvmBackend(Settings(), block_timing=QUICK)
    assert trials_of(untuned.block_latencies([BLOCK])[0]) == 0
    one, other = find(untuned.recipe, (BLOCK,)), find(some.recipe, (BLOCK,))
    assert one is not None and other is not None and one.path != other.path
