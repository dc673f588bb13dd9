"""Matrix products through the Verilated array, and what the tile simulator says of the same.

Needs Verilator 5 and a C++ compiler: ``apt-get install verilator`` on Debian.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.fpga.simulator import simulate
from backends.fpga.tiling import Tiles
from compofa.errors import InputError, RunFailed, Unavailable

DEPTH = 256
"""Slices that one half of the operand buffer holds: the longest reduction."""


class VerilatorUnavailable(Unavailable):
    """Verilator is not installed."""


@dataclass(frozen=True)
class Run:
    """One product of int8 matrices on a ``rows x columns`` array.

    Args:
        a: shape (pixels, reduction), int8.
        b: shape (reduction, outputs), int8.
        latency: cycles of the DDR port before the first transfer of a tile.
        slice_cycles: cycles of the port for the rows + columns bytes of one step of the reduction.
        row_cycles: cycles of the port for storing one row of a tile: its back-pressure.
        separate_stores: stores have a port of their own.
    """

    a: NDArray[np.int8]
    b: NDArray[np.int8]
    latency: int = 0
    slice_cycles: int = 1
    row_cycles: int = 1
    separate_stores: bool = False

    def tiles(self, rows: int, columns: int) -> int:
        """How many tiles of outputs there are."""
        return -(-self.a.shape[0] // rows) * -(-self.b.shape[1] // columns)


@dataclass(frozen=True)
class Outcome:
    """What the array did: its cycles, and the product, shape (pixels, outputs), int32."""

    cycles: int
    product: NDArray[np.int32]


def simulated_cycles(run: Run, rows: int, columns: int) -> int:
    """Cycles of `run` by the tile simulator: nothing here is fitted."""
    reduction, count = run.a.shape[1], run.tiles(rows, columns)
    tiles = Tiles(
        load=[run.latency + reduction * run.slice_cycles] * count,
        compute=[reduction] * count,
        store=[run.latency + rows * run.row_cycles] * count,
    )
    timeline = simulate(tiles, skew=rows + columns - 2, drain=rows, separate_stores=run.separate_stores)
    return timeline.cycles


def build(rows: int, columns: int, folder: Path) -> Path:
    """Compile the array and its harness in `folder`; the path of the program.

    Raises:
        VerilatorUnavailable: it is not installed.
        ValueError: the array is too small for the harness.
        RuntimeError: it does not compile.
    """
    if not shutil.which("verilator"):
        raise VerilatorUnavailable("verilator is not installed; on Debian: apt-get install verilator")
    if rows + columns < 9 or columns < 3:
        raise InputError("the harness moves slices above 64 bits: rows + columns >= 9, columns >= 3")
    with as_file(files("backends.fpga.rtl")) as source:
        done = subprocess.run(
            [
                *("verilator", "--cc", "--exe", "--build", "--top-module", "systolic", "-Wno-WIDTH"),
                *(f"-GROWS={rows}", f"-GCOLS={columns}", f"-GDEPTH={DEPTH}"),
                *("-CFLAGS", f"-std=c++20 -DROWS={rows} -DCOLS={columns}", "--Mdir", str(folder)),
                *("-MAKEFLAGS", "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0"),
                *("-o", "harness", str(source / "systolic.v"), str(source / "harness.cpp")),
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RunFailed(f"Verilator failed: {(done.stderr or done.stdout)[-2000:]}")
    return folder / "harness"


def execute(program: Path, runs: Sequence[Run], rows: int, columns: int, folder: Path) -> list[Outcome]:
    """Put `runs` through the array that :func:`build` made for `rows` and `columns`.

    Raises:
        ValueError: a reduction is longer than the operand buffer.
        RuntimeError: the array hangs.
    """
    given, taken = folder / "cases.bin", folder / "results.bin"
    given.write_bytes(b"".join(_case(run, rows, columns) for run in runs))
    done = subprocess.run([program, given, taken], capture_output=True, text=True)
    if done.returncode:
        raise RunFailed(done.stderr.strip() or "the harness failed")
    content, outcomes, at = taken.read_bytes(), [], 0
    for run in runs:
        count = run.tiles(rows, columns) * rows * columns
        cycles = int(np.frombuffer(content, np.int64, 1, at)[0])
        values = np.frombuffer(content, np.int32, count, at + 8)
        outcomes.append(Outcome(cycles, _untile(values, run, rows, columns)))
        at += 8 + 4 * count
    return outcomes


def _case(run: Run, rows: int, columns: int) -> bytes:
    reduction = run.a.shape[1]
    if not 1 <= reduction <= DEPTH:
        raise InputError(f"the reduction must be 1 to {DEPTH}, not {reduction}")
    settings = (run.latency, run.slice_cycles, run.row_cycles, int(run.separate_stores))
    head = np.array([reduction, run.tiles(rows, columns), *settings], dtype=np.int32)
    a = _padded(run.a, 0, rows).reshape(-1, rows, reduction).transpose(0, 2, 1)
    b = _padded(run.b, 1, columns).reshape(reduction, -1, columns).transpose(1, 0, 2)
    slices = [np.concatenate([one, other], axis=1) for one in a for other in b]
    return head.tobytes() + np.ascontiguousarray(slices).tobytes()


def _padded(matrix: NDArray[np.int8], axis: int, multiple: int) -> NDArray[np.int8]:
    """`matrix` with zeros added to the end of `axis`, up to a multiple."""
    width = [(0, 0), (0, 0)]
    width[axis] = (0, -matrix.shape[axis] % multiple)
    return np.pad(matrix, width)


def _untile(values: NDArray[np.int32], run: Run, rows: int, columns: int) -> NDArray[np.int32]:
    """The product from its tiles, whose rows come lowest first."""
    across = -(-run.b.shape[1] // columns)
    tiles = values.reshape(-1, across, rows, columns)[:, :, ::-1]
    whole = tiles.transpose(0, 2, 1, 3).reshape(-1, across * columns)
    return whole[: run.a.shape[0], : run.b.shape[1]]
