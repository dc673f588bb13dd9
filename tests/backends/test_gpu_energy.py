"""Energy by a counter that moves in steps: a simulated one, whose power is known, and the real module that reads it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from backends import gpu_energy
from backends.base import Network, Settings, Target
from backends.chained import CPU_TIMINGS, ChainBackend
from backends.device import Device, Run
from backends.gpu_energy import Energy, NvmlCounter, block_energy, energy_of, network_energies, open_counter
from backends.machine.clocks import Case, Reading
from backends.machine.cuda_probe import cuda_reason
from backends.torch_backend import TorchBackend
from compofa.blocks import Block
from compofa.errors import InputError, RunFailed, Unavailable
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space

WATTS_IDLE = 60.0


class Bench:
    """A clock, and a GPU that uses `watts` while a case runs, and counts it in steps of `step_s` seconds."""

    def __init__(self, step_s: float = 0.02) -> None:
        self.now_s, self.used_mj, self.step_s, self.seen = 0.0, 0.0, step_s, (0.0, 0)

    def clock(self) -> float:
        self.spend(1e-5, WATTS_IDLE)
        return self.now_s

    def spend(self, seconds: float, watts: float) -> None:
        """Watts for some time; the counter shows what had been used at its last step."""
        step = int(self.now_s / self.step_s)
        self.now_s += seconds
        self.used_mj += 1e3 * watts * seconds
        if int(self.now_s / self.step_s) != step:
            self.seen = (self.now_s, int(self.used_mj))

    def read_mj(self) -> int:
        return self.seen[1]

    def case(self, seconds: float, watts: float) -> Case:
        def run(repeats: int) -> Reading:
            for _ in range(repeats):
                self.spend(seconds, watts)
            return Reading(seconds)

        return run


@pytest.mark.parametrize("run_ms", [0.05, 0.7, 3.0, 11.0])
@pytest.mark.parametrize("step_s", [0.02, 0.1])
def test_the_energy_of_a_run_is_found(run_ms: float, step_s: float) -> None:
    bench = Bench(step_s)
    case = bench.case(run_ms / 1e3, 300.0)
    found = energy_of(case, bench, clock=bench.clock)
    assert found.mj == pytest.approx(300.0 * run_ms, rel=0.03)
    assert found.ms == pytest.approx(run_ms, rel=0.03)
    assert found.steps >= 4


def test_a_counter_that_hardly_moves_tells_no_energy() -> None:
    bench = Bench(step_s=0.3)
    with pytest.raises(RunFailed, match=r"moved \d times in 0.6 s: too few"):
        energy_of(bench.case(1e-3, 300.0), bench, clock=bench.clock)


# --- blocks and networks ---

STEM = Block("conv", (3, 8, 8), 8, kernel=3, stride=2, act="relu")
SAME = Block("mbconv", (8, 4, 4), 8, 24, kernel=3, act="relu", shortcut=True)
OTHER = Block("mbconv", (8, 4, 4), 24, 48, kernel=5, se=True, act="hswish")
POOL = Block("pool", (24, 4, 4), 24)


class Additive(ChainBackend):
    """Networks that take as long and use as much as their blocks, and what a call takes."""

    name = "additive"
    element_bytes = {"fp32": 4}  # noqa: RUF012

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        super().__init__(Settings(), CPU_TIMINGS)

    @classmethod
    def probe(cls) -> str | None:
        return None

    @property
    def target(self) -> Target:
        return Target("additive", "simulated")

    def _open_device(self) -> Device:
        bench = self.bench

        class Simulated(Device):
            def case(self, run: Run) -> Case:
                def timed(repeats: int) -> Reading:
                    began = bench.now_s
                    for _ in range(repeats):
                        run()
                    return Reading((bench.now_s - began) / repeats)

                return timed

        return Simulated()

    def _ready(self, network: Network, seed: int) -> Run:
        def run() -> None:
            self.bench.spend(2e-5, WATTS_IDLE)
            for block in network:
                self.bench.spend(*seconds_and_watts(block))

        return run


def seconds_and_watts(block: Block) -> tuple[float, float]:
    return 1e-4 * (1 + block.kernel), 150.0 + 20 * block.kernel


def energy_mj(block: Block) -> float:
    seconds, watts = seconds_and_watts(block)
    return 1e3 * seconds * watts


@pytest.mark.parametrize("block", [STEM, SAME, OTHER, POOL], ids=str)
def test_a_block_costs_the_difference_of_two_networks(block: Block) -> None:
    bench = Bench()

    def measure(case: Case) -> Energy:
        return energy_of(case, bench, clock=bench.clock)

    found = block_energy(Additive(bench), block, measure)
    assert found.mj == pytest.approx(energy_mj(block), rel=0.1)
    assert found.ms == pytest.approx(1e3 * seconds_and_watts(block)[0], rel=0.1)


def test_sums_of_blocks_are_the_energy_of_networks() -> None:
    bench = Bench()

    def measure(case: Case) -> Energy:
        return energy_of(case, bench, clock=bench.clock)

    backend = Additive(bench)
    networks = [(STEM, SAME, OTHER, POOL), (STEM, SAME, SAME, SAME, OTHER)]
    for network, found in zip(networks, network_energies(backend, networks, measure), strict=True):
        total = sum(block_energy(backend, block, measure).mj for block in network)
        assert found.mj == pytest.approx(total, rel=0.05)


def test_turns_go_forth_and_back() -> None:
    """Two networks under a drift of the power: forth and back, it cancels."""
    watts = iter([100.0, 110.0, 120.0, 130.0])
    seen = []

    def measure(case: Case) -> Energy:
        seen.append(case)
        return Energy(next(watts), 1.0, 9)

    one, other = gpu_energy._turns(Additive(Bench()), ((SAME,), (SAME,)), measure, 2)
    assert one.mj == other.mj == 115.0
    assert seen == [seen[0], seen[1], seen[1], seen[0]]


def test_real_networks_run_between_the_looks() -> None:
    """The torch backend on the host; only the counter is simulated: a watt while this process runs, in steps of
    10 ms. Both it and the clock stand still while others have the core."""
    import time

    class Clockwork:
        def read_mj(self) -> int:
            return int(time.process_time() / 0.01) * 10

    def measure(case: Case) -> Energy:
        return energy_of(case, Clockwork(), least_s=0.15, clock=time.process_time)

    (found,) = network_energies(TorchBackend(Settings()), [(SAME, OTHER)], measure, rounds=1)
    assert 0 < found.mj == pytest.approx(found.ms, rel=0.2)


# --- the benchmark ---

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gpu_energy.py"


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_energy_benchmark", BENCHMARK)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_goes_on_and_compares_sums_with_networks(tmp_path: Path) -> None:
    space = get_space("compofa", get_family("glyphs"))
    archs = list(space.enumerate([16]))[::40][:6]
    measured: list[int] = []

    def run(**how: float) -> dict[str, Any]:
        bench = Bench()

        def measure(case: Case) -> Energy:
            measured.append(1)
            return energy_of(case, bench, clock=bench.clock, least_s=0.2)

        found: dict[str, Any] = benchmark().measure_all(
            Additive(bench), space, archs, measure, tmp_path / "energy.jsonl", **how
        )
        return found

    assert run(within_s=0.0)["networks"] == 0 and not measured
    found = run()
    assert found["networks"] == 6 and found["blocks"] > 20
    assert found["raw_mape_pct"] < 8 and found["calibrated_mape_pct"] < 3
    before = len(measured)
    assert run() == found and len(measured) == before

    lines = (tmp_path / "energy.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "energy.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:10])  # killed while it wrote
    again = run()
    assert again["networks"] == 6 and len(measured) == before + 2

    (tmp_path / "energy.jsonl").write_bytes(lines[0].replace(b"simulated", b"another") + b"".join(lines[1:]))
    with pytest.raises(InputError, match="energies of another target"):
        run()


def test_the_benchmark_names_what_the_machine_lacks(tmp_path: Path) -> None:
    if cuda_reason() is None:
        pytest.skip("there is a GPU here")
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--out", str(tmp_path / "x.jsonl")],
        env={**os.environ, "PYTHONPATH": str(BENCHMARK.parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("gpu_energy: error: ") and "no NVIDIA driver" in done.stderr


# --- NVML ---


def test_the_call_is_there_in_nvidias_module() -> None:
    pynvml = pytest.importorskip("pynvml")
    asked = []

    class Spied:
        def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:
            asked.append(handle)
            return 12345

    assert callable(pynvml.nvmlDeviceGetTotalEnergyConsumption)
    assert issubclass(pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError)
    assert NvmlCounter(Spied(), "handle").read_mj() == 12345 and asked == ["handle"]


@pytest.mark.skipif(cuda_reason() is None, reason="there is a GPU here")
def test_without_a_driver_it_is_unavailable() -> None:
    pytest.importorskip("pynvml")
    with pytest.raises(Unavailable, match=r"NVML tells no energy of GPU x: NVML Shared Library Not Found"):
        open_counter("x")
