"""The simulator's cycles are the RTL's, and the RTL's values are right. Skipped where Verilator is absent."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from backends.fpga.rtl import truth
from backends.fpga.rtl.truth import Run, build, execute, simulated_cycles

needs_verilator = pytest.mark.skipif(
    not shutil.which("verilator"), reason="Verilator is not installed (apt-get install verilator)"
)
CASES = {(8, 8): 300, (4, 6): 120}


def random_run(rng: np.random.Generator, index: int) -> Run:
    """A random product; a third with a port for stores of its own and no waiting, a third with slow stores, a
    third with a slow DDR."""
    pixels, outputs = (int(n) for n in rng.integers(1, 40, size=2))
    reduction = int(rng.choice([rng.integers(1, 12), rng.integers(1, 90)]))
    a = rng.integers(-128, 128, (pixels, reduction), dtype=np.int8)
    b = rng.integers(-128, 128, (reduction, outputs), dtype=np.int8)
    if index % 3 == 0:
        return Run(a, b, separate_stores=True)
    if index % 3 == 1:
        return Run(a, b, row_cycles=int(rng.integers(1, 20)), separate_stores=bool(rng.integers(2)))
    latency, pace, rows = (int(n) for n in rng.integers((0, 1, 1), (80, 5, 12)))
    return Run(a, b, latency, pace, rows, separate_stores=bool(rng.integers(2)))


@needs_verilator
@pytest.mark.parametrize("size", [(8, 8), pytest.param((4, 6), marks=pytest.mark.slow)])
def test_no_cycle_and_no_value_differs_from_the_rtl(size: tuple[int, int], tmp_path: Path) -> None:
    rows, columns = size
    program = build(rows, columns, tmp_path)
    rng = np.random.default_rng(rows)
    runs = [random_run(rng, i) for i in range(CASES[size])]
    outcomes = execute(program, runs, rows, columns, tmp_path)
    for run, outcome in zip(runs, outcomes, strict=True):
        np.testing.assert_array_equal(outcome.product, run.a.astype(np.int32) @ run.b.astype(np.int32))
    cycles = [outcome.cycles for outcome in outcomes]
    assert cycles == [simulated_cycles(run, rows, columns) for run in runs]


def test_a_port_of_its_own_and_no_waiting_gives_the_known_closed_form() -> None:
    """For an output-stationary array with ping-pong buffers, up to where the last row counts as out."""
    rng = np.random.default_rng(1)
    rows = columns = 8
    for _ in range(200):
        pixels, outputs, k = (int(n) for n in rng.integers(1, 60, size=3))
        pace = int(rng.integers(1, 4))
        run = Run(
            np.zeros((pixels, k), np.int8), np.zeros((k, outputs), np.int8), 0, pace, 1, separate_stores=True
        )
        load, count = k * pace, run.tiles(rows, columns)
        expected = load + (count - 1) * max(load, k, 2 * rows + columns - 2) + k + 2 * rows + columns - 2
        assert simulated_cycles(run, rows, columns) == expected + rows


def test_without_verilator_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth.shutil, "which", lambda name: None)
    with pytest.raises(truth.VerilatorUnavailable, match="apt-get install verilator"):
        build(8, 8, tmp_path)


def test_what_the_array_cannot_hold_is_refused(tmp_path: Path) -> None:
    run = Run(np.zeros((1, 300), np.int8), np.zeros((300, 1), np.int8))
    with pytest.raises(ValueError, match="must be 1 to 256, not 300"):
        execute(tmp_path / "none", [run], 8, 8, tmp_path)
