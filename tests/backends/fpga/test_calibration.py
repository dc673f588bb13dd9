"""Calibration finds what made the latencies, refuses to guess, and does on real boards what we say it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.fpga.calibration import Board, fit, leave_one_out, main, predict_ms, with_values
from backends.fpga.layers import Layer
from backends.fpga.target import load_target
from backends.fpga.zoo import NETWORKS, measurements

TARGET = load_target("kv260-b4096")
TRUTH = {"bytes_per_cycle": 12.0, "efficiency": 0.6, "alu_efficiency": 0.5, "layer_cycles": 1500.0}
NAMES = [
    name
    for name in NETWORKS
    if any(part in name for part in ("mobilenet", "resnet50", "squeeze", "inception", "resnetv1_101"))
]


def zoo_board(name: str, zoo: Path | None = None) -> Board:
    rows = [row for row in measurements(name, zoo) if "efficientnet-b0" not in row.network]
    networks = tuple(NETWORKS[row.network]() for row in rows)
    return Board(load_target(f"{name}-b4096"), networks, np.array([row.latency_ms for row in rows]))


def test_it_finds_the_parameters_that_made_the_latencies() -> None:
    networks = tuple(NETWORKS[name]() for name in NAMES)
    board = Board(TARGET, networks, predict_ms(networks, with_values(TARGET, TRUTH)))
    found = fit(board)
    for name, value in TRUTH.items():
        assert found.values[name] == pytest.approx(value, rel=0.02), name
    assert found.at_bound == ()
    np.testing.assert_allclose(found.predicted_ms, board.measured_ms, rtol=0.005)


def test_kv260_leave_one_network_out_is_within_ten_percent() -> None:
    board = zoo_board("kv260")
    assert len(board.networks) == 17
    assert np.abs(leave_one_out(board) / board.measured_ms - 1).mean() < 0.10


def test_kv260s_fit_predicts_zcu102(zoo_csv: Path) -> None:
    board, kv260 = zoo_board("zcu102", zoo_csv), zoo_board("kv260")
    moved = replace(fit(kv260).target, clock_mhz=board.target.clock_mhz)
    assert np.abs(board.predict_ms(moved) / board.measured_ms - 1).mean() < 0.10


@pytest.mark.parametrize("name", ["kv260", "zcu102"])
def test_the_shipped_targets_are_the_calibrated_ones(name: str, zoo_csv: Path) -> None:
    board = zoo_board(name, zoo_csv)
    assert np.abs(board.predict_ms(board.target) / board.measured_ms - 1).mean() < 0.065


def test_networks_that_say_nothing_of_a_parameter_are_refused() -> None:
    compute_only = tuple((Layer("conv", (512, 28, 28), 64 * i, 3),) for i in range(8, 16))
    board = Board(TARGET, compute_only, predict_ms(compute_only, TARGET))
    with pytest.raises(ValueError, match="cannot identify alu_efficiency"):
        fit(board, ["efficiency", "alu_efficiency"])
    with pytest.raises(ValueError, match="cannot fit speed; what can be fitted is"):
        fit(board, ["speed"])
    with pytest.raises(ValueError, match="1 networks cannot identify 4 parameters"):
        fit(Board(TARGET, compute_only[:1], board.measured_ms[:1]))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan")])
def test_a_latency_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="positive numbers"):
        Board(TARGET, ((Layer("conv", (8, 8, 8), 8),),), np.array([bad]))


def test_the_command_prints_what_was_fitted_and_the_error_held_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["kv260", "--fit", "efficiency", "layer_cycles"]) == 0
    *networks, fitted, error = capsys.readouterr().out.splitlines()
    assert len(networks) == 1 + 17 and all("efficientnet-b0" not in line for line in networks)
    assert fitted.startswith("fitted  efficiency 0.") and "layer_cycles" in fitted
    assert "in sample" in error and error.endswith("leave-one-out")
