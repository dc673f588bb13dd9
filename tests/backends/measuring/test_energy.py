"""Energy by a counter that moves in steps. NVML is simulated at its boundary, the one call that reads the counter, by a
GPU whose power is known."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backends.base import Measurement, Network, Settings, Target
from backends.chained import CPU_TIMINGS, ENERGY, ChainBackend, Timings
from backends.device import Begin, Device, Pending, Run
from backends.machine.clocks import Case, Clocks, Reading
from backends.machine.energy_counters import Counter, NvmlCounter
from backends.measuring import backend as measuring_backend
from backends.measuring import energy
from backends.measuring.energy import Energy, energy_of, in_turns
from backends.measuring.timing import TimingSettings
from backends.torch_backend import TorchBackend, TorchCpu
from compofa.blocks import Block
from compofa.errors import InputError, RunFailed, Unavailable
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut import store
from lut.store import Header
from lut.table import Table

WATTS_IDLE = 60.0


class Gpu:
    """A clock, and a GPU that does what is queued, and waits where nothing is; NVML counts what it uses in steps of
    `step_s` seconds, and takes `reading_s` to say it."""

    def __init__(self, step_s: float = 0.02, reading_s: float = 0.003) -> None:
        self.now_s, self.used_mj, self.step_s, self.seen_mj = 0.0, 0.0, step_s, 0
        self.reading_s = reading_s
        self.queue: deque[tuple[float, float]] = deque()
        self.begun = self.finished = 0

    def clock(self) -> float:
        self.advance(1e-5)
        return self.now_s

    def enqueue(self, seconds: float, watts: float) -> None:
        """Work that takes so long, and uses so much."""
        self.queue.append((seconds, watts))
        self.begun += 1

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        while seconds > 0 and self.queue:
            left_s, watts = self.queue.popleft()
            if left_s > seconds:
                self.queue.appendleft((left_s - seconds, watts))
                left_s = seconds
            else:
                self.finished += 1
            self._spend(left_s, watts)
            seconds -= left_s
        if seconds > 0:
            self._spend(seconds, WATTS_IDLE)

    def drain(self) -> None:
        """Wait for all that is queued."""
        while self.queue:
            self.advance(self.queue[0][0])

    def _spend(self, seconds: float, watts: float) -> None:
        step = int(self.now_s / self.step_s)
        self.now_s += seconds
        self.used_mj += 1e3 * watts * seconds
        if int(self.now_s / self.step_s) != step:
            self.seen_mj = int(self.used_mj)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:
        assert handle == "gpu 0"
        self.advance(self.reading_s)
        return self.seen_mj

    @property
    def counter(self) -> NvmlCounter:
        return NvmlCounter(self, "gpu 0")

    def begin(self, run: Run) -> Begin:
        """`run` puts work into the queue."""

        def begin(repeats: int) -> Pending:
            for _ in range(repeats):
                run()
            return Begun(self, self.begun)

        return begin

    def work(self, seconds: float, watts: float) -> Begin:
        return self.begin(lambda: self.enqueue(seconds, watts))


@dataclass(frozen=True)
class Begun:
    """What had been queued then."""

    gpu: Gpu
    count: int

    def done(self) -> bool:
        return self.gpu.finished >= self.count

    def wait(self) -> None:
        while not self.done():
            self.gpu.advance(self.gpu.queue[0][0])


@pytest.mark.parametrize("run_ms", [0.05, 0.7, 3.0, 11.0])
@pytest.mark.parametrize("step_s", [0.02, 0.1])
def test_the_energy_of_a_run_is_found(run_ms: float, step_s: float) -> None:
    gpu = Gpu(step_s)
    found = energy_of(gpu.work(run_ms / 1e3, 300.0), gpu.counter, clock=gpu.clock)
    assert found.mj == pytest.approx(300.0 * run_ms, rel=0.03)
    assert found.ms == pytest.approx(run_ms, rel=0.03)
    assert found.steps >= energy.LEAST_STEPS


@pytest.mark.parametrize("reading_ms", [0.05, 4.0, 12.0])
def test_the_device_is_not_charged_for_the_time_that_reading_the_counter_takes(reading_ms: float) -> None:
    """A run of 2.75 ms took 5.8 ms on an H100, and 30 % more energy, where it waited for NVML after each piece."""
    gpu = Gpu(reading_s=reading_ms / 1e3)
    found = energy_of(gpu.work(2.75e-3, 450.0), gpu.counter, clock=gpu.clock)
    assert found.ms == pytest.approx(2.75, rel=0.01)
    assert found.mj == pytest.approx(450.0 * 2.75, rel=0.03)


def test_a_counter_that_moves_seldom_is_waited_for() -> None:
    gpu = Gpu(step_s=0.3)
    found = energy_of(gpu.work(1e-3, 300.0), gpu.counter, clock=gpu.clock)
    assert found.mj == pytest.approx(300.0, rel=0.03)
    assert gpu.now_s < energy.MOST_S


def test_a_counter_that_hardly_moves_tells_no_energy() -> None:
    gpu = Gpu(step_s=1.5)
    with pytest.raises(RunFailed, match=r"moved \d times in 3 s: too few"):
        energy_of(gpu.work(1e-3, 300.0), gpu.counter, clock=gpu.clock)


def test_turns_go_forth_and_back() -> None:
    """Two cases under a drift of the power: forth and back, it cancels."""
    watts = iter([100.0, 110.0, 120.0, 130.0])
    cases = ["one", "other"]
    seen = []

    def measure(case: str) -> Energy:
        seen.append(case)
        return Energy(next(watts), 1.0, 9)

    one, other = in_turns(cases, measure, 2)
    assert [np.mean([e.mj for e in rounds]) for rounds in (one, other)] == [115.0, 115.0]
    assert seen == [cases[0], cases[1], cases[1], cases[0]]


# --- blocks and networks ---

STEM = Block("conv", (3, 8, 8), 8, kernel=3, stride=2, act="relu")
SAME = Block("mbconv", (8, 4, 4), 8, 24, kernel=3, act="relu", shortcut=True)
OTHER = Block("mbconv", (8, 4, 4), 24, 48, kernel=5, se=True, act="hswish")
POOL = Block("pool", (24, 4, 4), 24)
QUICK = TimingSettings(rounds=2, max_warmup_ms=0.0)


class Additive(ChainBackend):
    """Networks that take as long and use as much as their blocks, and what a call takes."""

    name = "additive"
    element_bytes = {"fp32": 4}  # noqa: RUF012
    options = (ENERGY,)

    def __init__(self, gpu: Gpu, counts: bool = True) -> None:
        self.gpu = gpu
        options = {"energy": "yes"} if counts else {}
        super().__init__(Settings(options=options), Timings(QUICK, QUICK))

    @classmethod
    def probe(cls) -> str | None:
        return None

    @property
    def target(self) -> Target:
        return Target("additive", "simulated", details=tuple(self.method.items()))

    def _open_device(self) -> Device:
        gpu = self.gpu

        class Simulated(Device):
            def case(self, run: Run) -> Case:
                def timed(repeats: int) -> Reading:
                    began = gpu.now_s
                    for _ in range(repeats):
                        run()
                    gpu.drain()
                    return Reading((gpu.now_s - began) / repeats)

                return timed

            def begin(self, run: Run) -> Begin:
                return gpu.begin(run)

            def energy_counter(self) -> Counter:
                return gpu.counter

        return Simulated(Clocks("simulated", wall=gpu.clock))

    def _ready(self, network: Network, seed: int) -> Run:
        spent = [(2e-5, WATTS_IDLE), *map(seconds_and_watts, network)]

        def run() -> None:
            for seconds, watts in spent:
                self.gpu.enqueue(seconds, watts)

        return run


def seconds_and_watts(block: Block) -> tuple[float, float]:
    return 1e-4 * (1 + block.kernel), 150.0 + 20 * block.kernel


def energy_mj(block: Block) -> float:
    seconds, watts = seconds_and_watts(block)
    return 1e3 * seconds * watts


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """References are kept in no one's home."""
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path / "home"))


def test_blocks_and_networks_tell_their_energy_beside_their_latency() -> None:
    backend = Additive(Gpu())
    blocks, network = [STEM, SAME, OTHER, POOL], (STEM, SAME, SAME, SAME, OTHER, POOL)
    found = dict(zip(blocks, backend.block_latencies(blocks), strict=True))
    for block, measured in found.items():
        said = {name: float(value) for name, value in measured.details if name.startswith("energy")}
        assert said["energy_mj"] == pytest.approx(energy_mj(block), rel=0.1)
        assert said["energy_ms"] == pytest.approx(1e3 * seconds_and_watts(block)[0], rel=0.1)
        assert said["energy_low_mj"] <= said["energy_mj"] <= said["energy_high_mj"]
    (whole,) = backend.network_latencies([network])
    total = sum(float(dict(found[block].details)["energy_mj"]) for block in network)
    assert float(dict(whole.details)["energy_mj"]) == pytest.approx(total, rel=0.05)


def test_who_does_not_ask_pays_nothing() -> None:
    gpu = Gpu()
    gpu.nvmlDeviceGetTotalEnergyConsumption = pytest.fail  # type: ignore[method-assign]
    backend = Additive(gpu, counts=False)
    (of_block,), (of_network,) = backend.block_latencies([SAME]), backend.network_latencies([(SAME,)])
    assert not [name for m in (of_block, of_network) for name, _ in m.details if "energy" in name]


def test_what_a_block_uses_is_never_nothing() -> None:
    longer, shorter = [Energy(1.0, 1.0, 9)], [Energy(1.1, 1.0, 9)]
    (found,) = energy.difference(longer, shorter, 4)
    assert found.mj == energy.SMALLEST_MJ


def test_real_networks_run_between_the_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The torch backend on the host; only the counter is simulated: a watt while this process runs, in steps of
    10 ms."""

    class ProcessorTime:
        def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:
            return int(time.process_time() / 0.01) * 10

    monkeypatch.setattr(TorchCpu, "energy_counter", lambda self: NvmlCounter(ProcessorTime(), None))
    monkeypatch.setattr(energy, "LEAST_S", 0.1)
    monkeypatch.setattr(measuring_backend, "MEASURE_S", 0.1)
    backend = TorchBackend(Settings(options={"energy": "yes"}), Timings(QUICK, QUICK))
    assert backend.target == TorchBackend(Settings(), CPU_TIMINGS).target
    (found,) = backend.network_latencies([(SAME, OTHER)])
    said = dict(found.details)
    # The counter stands still while others have the core, the clock does not.
    assert 0 < float(said["energy_mj"]) < 1.5 * float(said["energy_ms"])


def test_a_machine_that_counts_no_energy_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Device) -> Counter:
        raise Unavailable("nothing counts it")

    monkeypatch.setattr(Device, "energy_counter", missing)
    with pytest.raises(Unavailable, match="nothing counts it"):
        TorchBackend(Settings(options={"energy": "yes"}))


# --- the benchmark ---

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "gpu_energy.py"


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_energy_benchmark", BENCHMARK)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table_of(energies: bool) -> Table:
    """The blocks of glyphs, with the energies that the simulated GPU would tell, or without."""
    header = Header(Target("additive", "simulated"), "glyphs", "compofa", (16,), "2026")
    entries = {}
    for block in get_space("compofa", GLYPHS).all_blocks([16]):
        details = energy.details([Energy(energy_mj(block), 1.0, 9)]) if energies else ()
        entries[block] = Measurement("measured", 1.0, 1.0, 1.0, details=details)
    return Table(header, entries)


def test_the_benchmark_goes_on_and_compares_sums_with_networks(tmp_path: Path) -> None:
    script = benchmark()
    table = script.of_energies(table_of(energies=True))
    archs = list(get_space("compofa", GLYPHS).enumerate([16]))[::20][:12]
    asked: list[Network] = []

    class Spied(Additive):
        def network_latencies(self, networks: Any) -> list[Measurement]:
            asked.extend(networks)
            return super().network_latencies(networks)

    def run(**how: float) -> dict[str, Any]:
        found: dict[str, Any] = script.measure_all(Spied(Gpu()), table, archs, out, **how)
        return found

    out = tmp_path / "energy.jsonl"
    assert run(within_s=0.0)["networks"] == 0 and not asked
    found = run()
    assert found["networks"] == 12 and len(asked) == 12
    assert found["raw"]["mape_pct"] < 3 and found["calibrated"]["mape_pct"] < 2
    assert run() == found and len(asked) == 12

    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:-1]) + lines[-1][:10])  # killed while it wrote
    assert run()["networks"] == 12 and len(asked) == 13

    out.write_bytes(lines[0].replace(b"simulated", b"another") + b"".join(lines[1:]))
    with pytest.raises(InputError, match="energies of another target"):
        run()


def test_a_table_without_energies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no energies"):
        benchmark().of_energies(table_of(energies=False))


def test_the_benchmark_names_what_the_machine_lacks(tmp_path: Path) -> None:
    table = table_of(energies=True)
    header = replace(table.header, target=Target("torch", "GPU", details=(("device", "cuda"),)))
    path = tmp_path / "energy.jsonl"
    with store.Writer(path, header) as writer:
        writer.append(table.entries.items())
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--lut", str(path), "--out", str(tmp_path / "x.jsonl")],
        env={**os.environ, "PYTHONPATH": str(BENCHMARK.parents[1]), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("gpu_energy: error: ")
    assert len(done.stderr.splitlines()) == 1
    assert json.loads(path.read_text().splitlines()[1])["details"]["energy_mj"] > 0
