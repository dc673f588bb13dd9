"""The FPGA model's figures: speed of the closed form and of the simulator, a full table, how near the two are,
agreement with the RTL (where Verilator is installed) and with the boards of the zoo."""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from shared_data import SHARED

from backends.base import Settings
from backends.fpga.backend import FpgaBackend
from backends.fpga.calibration import Board, fit, leave_one_out, predict_ms
from backends.fpga.closed_form import CHUNK, best_plan, layer_cycles, plan_cycles
from backends.fpga.compute import LayerArrays, place
from backends.fpga.layers import Layer, lower
from backends.fpga.rtl.truth import Run, build, execute, simulated_cycles
from backends.fpga.simulator import simulate
from backends.fpga.target import FpgaTarget, load_target
from backends.fpga.tiling import tiles_of
from backends.fpga.zoo import NETWORKS, Measured, measurements
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space

ROUNDS = 9
COPIES = 100
ZOO = SHARED / "vitis_zoo_kv260_zcu102.csv"
RTL_CASES = 3000


def median_s(case: Callable[[], object]) -> float:
    """Median seconds of `case`."""
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        case()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def repeated(arrays: LayerArrays, times: int) -> LayerArrays:
    """`arrays`, `times` over."""
    return arrays[np.tile(np.arange(len(arrays)), times)]


def speed(target: FpgaTarget, layers: tuple[Layer, ...]) -> None:
    """Layers a second, from shapes to cycles and from a tiling to cycles; the simulator."""
    arrays = LayerArrays.of(place(layers, target), target)
    many = repeated(arrays, COPIES)
    planned = best_plan(arrays, target, "int8")
    chunks = [best_plan(many[at : at + CHUNK], target, "int8") for at in range(0, len(many), CHUNK)]
    whole = median_s(lambda: layer_cycles(many, target, "int8"))
    formula = median_s(lambda: [plan_cycles(part, target) for part in chunks])
    some = range(0, len(arrays), 3)
    exact = median_s(lambda: [simulate(tiles_of(planned, i, target)) for i in some])
    print(
        f"{target.name:15} closed form {len(many) / formula / 1e6:5.1f} million layers a second, tiling included "
        f"{len(many) / whole / 1e6:4.1f}; simulator {len(some) / exact:,.0f} layers a second"
    )
    cycles = np.array([simulate(tiles_of(planned, i, target)).cycles for i in range(len(arrays))])
    error = np.abs(plan_cycles(planned, target) / cycles - 1)
    print(
        f"{'':15} closed form against simulator, {len(arrays)} layers: median {100 * np.median(error):.3f} %, "
        f"worst {100 * error.max():.2f} %"
    )


def table() -> None:
    """A full table of imagenet-w1.0, all 25 resolutions, in memory."""
    blocks = get_space("ofa", get_family("imagenet-w1.0")).all_blocks()
    backend = FpgaBackend(Settings("int8", options={"target": "zcu102-b4096"}))
    seconds = median_s(lambda: backend.block_latencies(blocks))
    print(
        f"imagenet-w1.0   {len(blocks)} blocks, 25 resolutions, in {seconds:.3f} s (without writing the file)"
    )


def against_rtl() -> None:
    """Random products through the Verilated 8 x 8 array."""
    if not shutil.which("verilator"):
        print("RTL             Verilator is not installed")
        return
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build(8, 8, folder)
        runs = [random_run(rng) for _ in range(RTL_CASES)]
        outcomes = execute(program, runs, 8, 8, folder)
    cycles = sum(o.cycles != simulated_cycles(r, 8, 8) for r, o in zip(runs, outcomes, strict=True))
    values = sum(
        not np.array_equal(o.product, r.a.astype(np.int32) @ r.b.astype(np.int32))
        for r, o in zip(runs, outcomes, strict=True)
    )
    print(f"RTL             {RTL_CASES} random cases: {cycles} cycle and {values} value mismatches")


def random_run(rng: np.random.Generator) -> Run:
    """A random product with a random DDR."""
    pixels, outputs, reduction = (int(n) for n in rng.integers(1, (50, 50, 120)))
    latency, pace, rows = (int(n) for n in rng.integers((0, 1, 1), (100, 5, 20)))
    a = rng.integers(-128, 128, (pixels, reduction), dtype=np.int8)
    b = rng.integers(-128, 128, (reduction, outputs), dtype=np.int8)
    return Run(a, b, latency, pace, rows, separate_stores=bool(rng.integers(2)))


def boards() -> None:
    """KV260 fitted, leave-one-out; its fit on ZCU102 with and without the bandwidth refitted; SE left out."""
    kv260, rows = zoo_board("kv260")
    found, held_out = fit(kv260), leave_one_out(kv260)
    report("KV260 fitted, in sample", rows, found.predicted_ms, kv260)
    report("KV260 leave-one-out", rows, held_out, kv260)
    if not ZOO.is_file():
        print(f"ZCU102 is left out: no {ZOO.name} in the folder that HWBENCH_SHARED_DATA names")
        return
    zcu102, rows = zoo_board("zcu102")
    moved = replace(found.target, clock_mhz=281)
    report("ZCU102, KV260's fit", rows, zcu102.predict_ms(moved), zcu102)
    bandwidth = fit(replace(zcu102, target=moved), ["bytes_per_cycle"])
    report("ZCU102, bandwidth refitted", rows, bandwidth.predicted_ms, zcu102)
    for board, target in (("kv260", found.target), ("zcu102", bandwidth.target)):
        (row,) = (r for r in measurements(board, ZOO) if "efficientnet-b0" in r.network)
        modelled = predict_ms([NETWORKS[row.network]()], target)[0]
        print(
            f"  efficientnet-b0 (SE, swish; not fitted) on {board}: modelled {modelled:.1f} ms, "
            f"measured {row.latency_ms:.1f} ms"
        )


def zoo_board(name: str) -> tuple[Board, tuple[Measured, ...]]:
    """A board with the networks that it is calibrated on, efficientnet-b0 left out."""
    rows = tuple(row for row in measurements(name, ZOO) if "efficientnet-b0" not in row.network)
    networks = tuple(NETWORKS[row.network]() for row in rows)
    measured = np.array([row.latency_ms for row in rows])
    return Board(load_target(f"{name}-b4096"), networks, measured), rows


def report(title: str, rows: tuple[Measured, ...], predicted: np.ndarray, board: Board) -> None:
    """MAPE and the worst three."""
    error = 100 * (predicted / board.measured_ms - 1)
    worst = ", ".join(
        f"{rows[i].network.split('_imagenet')[0]} {error[i]:+.0f} %" for i in np.argsort(-np.abs(error))[:3]
    )
    print(f"{title:27} {len(rows)} networks, MAPE {np.abs(error).mean():.1f} %; worst {worst}")


def main() -> None:
    """Print the figures."""
    blocks = get_space("ofa", get_family("imagenet-w1.0")).all_blocks()
    layers = tuple(dict.fromkeys(layer for block in blocks for layer in lower(block)))
    for name in (
        "zcu102-b4096",
        "dpu-b1152",
        "systolic-16x16",
    ):  # with parts to choose from, without, not a DPU
        speed(load_target(name), layers)
    table()
    against_rtl()
    boards()


if __name__ == "__main__":
    main()
