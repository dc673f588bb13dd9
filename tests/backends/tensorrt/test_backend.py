"""The backend from blocks to a table, with ONNX Runtime in TensorRT's place and the host in the GPU's.

The building process, the files, the check of the outputs and the timing are the real ones; what stands in is
below :mod:`backends.tensorrt.calls`, which test_calls.py holds against NVIDIA's own bindings.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.base import BlocksFailed, CannotRun, Settings
from backends.chained import CPU_TIMINGS, Timings
from backends.tensorrt.backend import TensorRTBackend
from backends.tensorrt.build import TOLERANCES
from backends.tensorrt.engines import Engines, Identity, graph_hash
from compofa.blocks import Block
from hwbench import build_lut
from lut import store

FAKE = Path(__file__).parent / "fake"
SMALL = Block("mbconv", (8, 6, 6), 8, 24, kernel=3, act="relu", shortcut=True)
WIDE = Block("mbconv", (8, 6, 6), 24, 48, kernel=5, se=True, act="hswish")
QUICK = Timings(
    replace(CPU_TIMINGS.blocks, rounds=2, round_ms=0.2, max_warmup_ms=1.0),
    replace(CPU_TIMINGS.networks, rounds=2, round_ms=0.2, max_warmup_ms=1.0),
)
Make = Callable[..., TensorRTBackend]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes backends whose engines lie in `tmp_path`."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("FAKE_TENSORRT_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PYTHONPATH", f"{FAKE}:{Path(__file__).parents[3]}")
    for name in ("tensorrt", "backends.tensorrt.calls"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(TensorRTBackend, "probe", classmethod(lambda cls: None))
    from host_gpu import HostGpu

    made: list[TensorRTBackend] = []

    def build(precision: str = "fp16", batch: int = 1, **options: str) -> TensorRTBackend:
        settings = Settings(precision, batch, options={"cache": str(tmp_path / "engines"), **options})
        command = (sys.executable, str(FAKE / "host_gpu.py"))
        made.append(TensorRTBackend(settings, QUICK, gpu=HostGpu(), command=command))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for backend in made:
        backend.close()
    for name in ("tensorrt", "backends.tensorrt.calls", "host_gpu"):
        sys.modules.pop(name, None)


def builds(folder: Path) -> list[dict[str, Any]]:
    log = folder / "log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_blocks_are_built_checked_and_timed_once(make: Make, tmp_path: Path) -> None:
    small, wide = make().block_latencies([SMALL, WIDE])
    assert small.latency_ms > 0 and wide.latency_ms > 0
    assert {name for name, _ in wide.details} == {"alone_ms", "left_out_pct", "slowdown_pct"}
    # chains of SMALL and SMALL alone, two neighbours and WIDE behind them, WIDE alone; and the reference
    assert len(builds(tmp_path)) == 7
    make().block_latencies([SMALL, WIDE])
    assert len(builds(tmp_path)) == 7


def test_what_tensorrt_learnt_of_its_kernels_is_kept(make: Make, tmp_path: Path) -> None:
    make().network_latencies([(SMALL,)])
    make().network_latencies([(WIDE,)])
    assert [build["learnt"] for build in builds(tmp_path)] == [0, 1, 2]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_every_precision_is_a_graph_that_runs_and_is_checked(
    make: Make, tmp_path: Path, precision: str
) -> None:
    backend = make(precision, batch=2)
    (found,) = backend.network_latencies([(SMALL, WIDE)])
    assert found.latency_ms > 0
    assert backend.target.precision == precision and backend.target.batch == 2
    assert {build["tf32"] for build in builds(tmp_path)} == {precision == "tf32"}


def test_the_target_says_what_decides_the_speed(make: Make) -> None:
    target = make().target
    assert dict(target.versions) == {"driver": "1", "tensorrt": "11.0.0"}
    assert (target.device, target.threads) == ("Host GPU", 0)
    assert TensorRTBackend.options_of(target) == {}


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("crash=24", r"the building process was killed by SIGABRT: Cask error: unexpected"),
        ("parse=24", r"TensorRT cannot parse the model: no importer registered \(node block0.expand\)"),
        ("build=24", r"cannot build the engine: could not find any implementation for node block0"),
        ("wrong=24", r"output differs from ONNX Runtime's by 1e\+02 % \(at most 2 % in fp16\)"),
        ("hang=24", r"the build took longer than 2 s"),
    ],
)
def test_a_block_that_cannot_be_built_is_named_with_the_reason_and_costs_no_other(
    make: Make, monkeypatch: pytest.MonkeyPatch, trouble: str, says: str
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT", trouble)
    backend = make(build_timeout="2" if trouble.startswith("hang") else "60")
    with pytest.raises(BlocksFailed, match=says) as failed:
        backend.block_latencies([SMALL, WIDE])
    assert failed.value.reasons.keys() == {WIDE}
    assert backend.block_latencies([SMALL])[0].latency_ms > 0


def test_a_network_that_cannot_be_built_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TENSORRT", "build=24")
    with pytest.raises(CannotRun, match="could not find any implementation"):
        make().network_latencies([(WIDE,)])


def test_layers_are_profiled_beside_the_table_only(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "profile"
    (found,) = make(profile=str(folder)).network_latencies([(WIDE,)])
    layers = [json.loads(path.read_text()) for path in folder.iterdir()]
    assert {"conv": 0.25} in layers
    assert "conv" not in dict(found.details)


def test_a_table_goes_on_past_a_failed_block_and_says_so(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, path = make(), tmp_path / "t.jsonl"
    header = store.Header(backend.target, "glyphs", "ofa", (16,), "2026")

    def measure() -> int:
        with store.Writer(path, header) as writer:
            todo = [block for block in (SMALL, WIDE) if block not in writer.entries]
            clock, total = time.monotonic, len(todo)
            work = build_lut.measure(backend, writer, [todo], total=total, wanted=(SMALL, WIDE), clock=clock)
            return work.measured

    monkeypatch.setenv("FAKE_TENSORRT", "crash=24")
    assert measure() == 1
    assert store.read(path)[1].keys() == {SMALL}
    (reason,) = store.read_failures(path).values()
    assert reason.startswith("the building process was killed by SIGABRT")

    monkeypatch.delenv("FAKE_TENSORRT")
    backend.close()  # a new building process sees the new environment
    assert measure() == 1
    assert store.read(path)[1].keys() == {SMALL, WIDE}
    assert store.read_failures(path) == {}


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_is_a_positive_number(make: Make, seconds: str) -> None:
    with pytest.raises(ValueError, match="--build-timeout is a positive number of seconds"):
        make(build_timeout=seconds)


def test_precisions_that_there_are_not(make: Make) -> None:
    with pytest.raises(ValueError, match="no precision 'int4'; it has fp16, fp32, tf32, int8"):
        make("int4")
    assert TOLERANCES.keys() == TensorRTBackend.element_bytes.keys()


# --- engines on disk ---

HERE = Identity("11.0.0", "Host GPU", "9.0")


def test_an_engine_is_found_again_by_its_graph(tmp_path: Path) -> None:
    engines, graph = Engines(tmp_path, HERE), graph_hash(b"model", tf32=False)
    assert engines.load(graph) is None
    engines.store(graph, b"plan\nwith lines")
    assert engines.load(graph) == b"plan\nwith lines"
    assert engines.load(graph_hash(b"model", tf32=True)) is None


@pytest.mark.parametrize(
    "other",
    [replace(HERE, tensorrt="10.16.1"), replace(HERE, gpu="Other GPU"), replace(HERE, capability="8.0")],
    ids=["version", "GPU", "capability"],
)
def test_an_engine_of_another_version_or_gpu_is_not_used(tmp_path: Path, other: Identity) -> None:
    graph = graph_hash(b"model", tf32=False)
    here, there = Engines(tmp_path, HERE), Engines(tmp_path, other)
    there.store(graph, b"theirs")
    assert here.load(graph) is None
    here.store(graph, b"ours")
    here.path(graph).write_bytes(there.path(graph).read_bytes())  # copied over by hand
    assert here.load(graph) is None
    assert there.load(graph) == b"theirs"


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: b"", lambda c: c.replace(b"plan", b"plam", 1)]
)
def test_a_damaged_engine_is_not_used(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    engines, graph = Engines(tmp_path, HERE), graph_hash(b"model", tf32=False)
    engines.store(graph, b"a plan")
    path = engines.path(graph)
    path.write_bytes(damage(path.read_bytes()))
    assert engines.load(graph) is None


def test_a_damaged_engine_is_built_anew(make: Make, tmp_path: Path) -> None:
    make().network_latencies([(SMALL,)])
    for path in (tmp_path / "engines").rglob("*.engine"):
        path.write_bytes(path.read_bytes()[:-1])
    before = len(builds(tmp_path))
    make().network_latencies([(SMALL,)])
    assert len(builds(tmp_path)) == 2 * before
