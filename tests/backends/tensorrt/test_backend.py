"""The backend from blocks to a table: engines are built by the real TensorRT-RTX in a process of their own.

What stands in is the GPU: the host runs what the engines were built from (fake/host_gpu.py), by ONNX Runtime. The
files, the check of the outputs and the timing are the real ones.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.base import BlocksFailed, CannotRun, Settings
from backends.chained import CPU_TIMINGS, Timings
from backends.tensorrt import library
from backends.tensorrt.backend import TensorRTBackend
from backends.tensorrt.build import Graph, Request
from backends.tensorrt.engines import Engine, Engines, Identity, graph_hash
from backends.tensorrt.outputs import TOLERANCES
from backends.tensorrt.worker import Builder, CannotKeep, build_command
from compofa.blocks import Block
from hwbench import building
from lut import store
from lut.header import Header

FAKE = Path(__file__).parent / "fake"
SMALL = Block("mbconv", (8, 6, 6), 8, 24, kernel=3, act="relu", shortcut=True)
WIDE = Block("mbconv", (8, 6, 6), 24, 48, kernel=5, se=True, act="hswish")
CLASSIFIER = Block("linear", (16, 1, 1), 12)
QUICK = Timings(
    replace(CPU_TIMINGS.blocks, rounds=2, round_ms=0.2, max_warmup_ms=1.0),
    replace(CPU_TIMINGS.networks, rounds=2, round_ms=0.2, max_warmup_ms=1.0),
)
Make = Callable[..., TensorRTBackend]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes backends whose engines lie in `tmp_path`."""
    (tmp_path / "built").mkdir()
    monkeypatch.setenv("HWBENCH_TEST_ENGINES", str(tmp_path / "built"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setattr(TensorRTBackend, "probe", classmethod(lambda cls: None))
    library.use(library.RTX)
    import host_gpu

    from backends.tensorrt import calls

    monkeypatch.setattr(calls, "Engine", host_gpu.HostEngine)
    made: list[TensorRTBackend] = []

    def build(
        precision: str = "fp16", batch: int = 1, capability: str = "8.9", **options: str
    ) -> TensorRTBackend:
        settings = Settings(
            precision, batch, options={"cache": str(tmp_path / "engines"), "runtime": "rtx", **options}
        )
        gpu: Any = host_gpu.HostGpu(capability)
        made.append(TensorRTBackend(settings, QUICK, gpu=gpu, command=host_gpu.command))
        return made[-1]

    yield build
    for backend in made:
        backend.close()
    sys.modules.pop("host_gpu", None)


def builds(folder: Path) -> list[dict[str, Any]]:
    log = folder / "built" / "log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.needs_rtx
def test_blocks_are_built_checked_and_timed_once(make: Make, tmp_path: Path) -> None:
    small, wide = make().block_latencies([SMALL, WIDE])
    assert small.latency_ms > 0 and wide.latency_ms > 0
    assert {name for name, _ in wide.details} == {"alone_ms", "left_out_pct", "slowdown_pct"}
    # chains of SMALL and SMALL alone, two neighbours and WIDE behind them, WIDE alone; and the reference
    assert len(builds(tmp_path)) == 7
    make().block_latencies([SMALL, WIDE])
    assert len(builds(tmp_path)) == 7


@pytest.mark.needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_every_precision_is_a_graph_that_runs_and_is_checked(
    make: Make, tmp_path: Path, precision: str
) -> None:
    backend = make(precision, batch=2)
    (found,) = backend.network_latencies([(SMALL, WIDE)])
    assert found.latency_ms > 0
    assert backend.target.precision == precision and backend.target.batch == 2
    assert {build["tf32"] for build in builds(tmp_path)} == {precision == "tf32"}


@pytest.mark.needs_rtx
def test_the_target_says_what_decides_the_speed(make: Make) -> None:
    target = make().target
    assert dict(target.versions) == {"driver": "1", "tensorrt-rtx": library.RTX.version}
    assert (target.device, target.threads) == ("Host GPU", 0)
    # With these validate measures on the same library, though another is installed meanwhile.
    assert TensorRTBackend.options_of(target) == {"runtime": "rtx"}


@pytest.mark.needs_rtx
@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("crash=24", r"the building process was killed by SIGABRT"),
        ("wrong=24", r"output differs from ONNX Runtime's by 1e\+02 % \(at most 2 % in fp16\)"),
        ("hang=24", r"the build took longer than 1.5 s"),
    ],
)
def test_a_block_that_cannot_be_built_is_named_with_the_reason_and_costs_no_other(
    make: Make, monkeypatch: pytest.MonkeyPatch, trouble: str, says: str
) -> None:
    monkeypatch.setenv("HWBENCH_TEST_TROUBLE", trouble)
    backend = make()
    backend.block_latencies([SMALL])  # starts the process, which may take its time
    backend._builder.timeout_s = 1.5 if trouble.startswith("hang") else 60
    with pytest.raises(BlocksFailed, match=says) as failed:
        backend.block_latencies([SMALL, WIDE])
    assert failed.value.reasons.keys() == {WIDE}
    assert backend.block_latencies([SMALL])[0].latency_ms > 0


@pytest.mark.needs_rtx
def test_a_block_that_the_library_refuses_is_named_with_its_words_and_costs_no_other(
    make: Make, tmp_path: Path
) -> None:
    with pytest.raises(
        BlocksFailed, match=r"tensorrt-rtx cannot build .* FP32 GEMM is not supported"
    ) as failed:
        make("fp32", capability="7.5").block_latencies([SMALL, CLASSIFIER])
    assert failed.value.reasons.keys() == {CLASSIFIER}
    before = len(builds(tmp_path))
    backend = make("fp32", capability="7.5")
    with pytest.raises(CannotRun, match="FP32 GEMM is not supported"):
        backend.network_latencies([(CLASSIFIER,)])
    assert len(builds(tmp_path)) == before
    assert make("fp32", capability="8.6").network_latencies([(CLASSIFIER,)])[0].latency_ms > 0


@pytest.mark.needs_rtx
def test_layers_are_profiled_beside_the_table_only(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "profile"
    (found,) = make(profile=str(folder)).network_latencies([(WIDE,)])
    layers = [json.loads(path.read_text()) for path in folder.iterdir()]
    assert {"conv": 0.25} in layers
    assert "conv" not in dict(found.details)


@pytest.mark.needs_rtx
def test_a_table_goes_on_past_a_failed_block_and_says_so(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, path = make(), tmp_path / "t.jsonl"
    header = Header(backend.target, "glyphs", "ofa", (16,), "2026")

    def measure() -> int:
        with store.Writer(path, header) as writer:
            todo = [block for block in (SMALL, WIDE) if block not in writer.entries]
            clock, total = time.monotonic, len(todo)
            work = building.measure(backend, writer, [todo], total=total, wanted=(SMALL, WIDE), clock=clock)
            return work.added["measured"]

    monkeypatch.setenv("HWBENCH_TEST_TROUBLE", "crash=24")
    assert measure() == 1
    assert store.read(path)[1].keys() == {SMALL}
    (reason,) = store.read_failures(path).values()
    assert reason.startswith("the building process was killed by SIGABRT")

    monkeypatch.delenv("HWBENCH_TEST_TROUBLE")
    backend.close()  # a new building process sees the new environment
    assert measure() == 1
    assert store.read(path)[1].keys() == {SMALL, WIDE}
    assert store.read_failures(path) == {}


@pytest.mark.needs_rtx
@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_is_a_positive_number(make: Make, seconds: str) -> None:
    with pytest.raises(ValueError, match="--build-timeout is a positive number of seconds"):
        make(build_timeout=seconds)


@pytest.mark.needs_rtx
def test_precisions_that_there_are_not(make: Make) -> None:
    with pytest.raises(ValueError, match="no precision 'int4'; it has fp16, fp32, tf32, int8"):
        make("int4")
    assert TOLERANCES.keys() == TensorRTBackend.element_bytes.keys()


# --- engines that were built elsewhere ---


@pytest.fixture
def built_elsewhere(make: Make, tmp_path: Path) -> Path:
    """A folder of the engines that measuring SMALL asks for, built for 8.9 by a process without a GPU."""
    backend = make()
    backend.block_latencies([SMALL])
    backend.close()
    engines = backend._engines
    for path in engines.home.glob("*.engine"):  # as a machine without a GPU leaves them: nobody ran them
        key = json.loads(path.read_bytes().partition(b"\n")[0])["graph"]
        engine = engines.load(key)
        assert engine and engine.checked == "Host GPU"
        engines.store(key, replace(engine, checked=""))
    return tmp_path / "engines"


@pytest.mark.needs_rtx
def test_engines_of_another_machine_are_checked_and_timed_not_built(
    make: Make, built_elsewhere: Path, tmp_path: Path
) -> None:
    before = len(builds(tmp_path))
    backend = make()
    assert backend.caution is None
    backend.block_latencies([SMALL])
    assert len(builds(tmp_path)) == before
    again = make()
    again._builder.close()
    again._builder = Builder(5, ("false",))  # nobody to ask: all were checked
    assert again.block_latencies([SMALL])[0].latency_ms > 0


@pytest.mark.needs_rtx
def test_an_engine_of_another_machine_that_computes_something_else_is_not_timed(
    make: Make, built_elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWBENCH_TEST_TROUBLE", "wrong=8")
    with pytest.raises(CannotRun, match="the engine's output differs from ONNX Runtime's"):
        make().network_latencies([(SMALL,)])


@pytest.mark.needs_rtx
def test_engines_of_another_gpu_are_said_and_built_anew(
    make: Make, built_elsewhere: Path, tmp_path: Path
) -> None:
    before = len(builds(tmp_path))
    backend = make(capability="8.6")
    here, there = (f"tensorrt-rtx-{library.RTX.version}-sm{digits}" for digits in ("86", "89"))
    assert backend.caution == (
        f"{built_elsewhere} holds engines for {there}, none for {here}: they are built anew"
    )
    backend.network_latencies([(SMALL,)])
    assert [build["for"] for build in builds(tmp_path)[before:]] == [["8.6"]] * 2  # and the sentinel
    assert backend.caution is None


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:-1],
    "empty": lambda content: b"",
    "cut head": lambda content: content[:100],
    "another GPU's": lambda content: content.replace(b"8.9", b"8.6", 1),
    "no fields": lambda content: b"{}\n" + content,
    "no object": lambda content: b"3\n" + content,
    "nested": lambda content: b"[" * 100_000 + b"\n" + content,
    "another format": lambda content: content.replace(b"hwbench-engine-2", b"hwbench-engine-9"),
    "longer": lambda content: content + b"X",
}


@pytest.mark.needs_rtx
def test_damaged_engines_are_said_and_built_anew(make: Make, tmp_path: Path) -> None:
    make().network_latencies([(SMALL,)])
    files = list((tmp_path / "engines").rglob("*.engine"))
    assert len(files) == len(builds(tmp_path)) == 2
    for path, damage in zip(files, ("cut", "another GPU's"), strict=True):
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    backend = make()
    assert backend.caution == f"2 of the engines in {files[0].parent} are cut or damaged: they are built anew"
    backend.network_latencies([(SMALL,)])
    assert len(builds(tmp_path)) == 4
    assert backend.caution is None


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_told(tmp_path: Path, name: str) -> None:
    engines = Engines(tmp_path, replace(HERE, capability="8.9"))
    graph = graph_hash(b"model", tf32=False)
    engines.store(graph, engine())
    path = engines.path(graph)
    path.with_name(f".{path.stem}.0123456789ab{path.suffix}").write_bytes(b"")  # of a process that was killed
    assert engines.warning() is None and engines.damaged() == 0
    path.write_bytes(DAMAGES[name](path.read_bytes()))
    assert engines.load(graph) is None
    assert engines.damaged() == 1


def full_disk() -> None:
    """No file may grow beyond a few bytes: the nearest to a full disk that needs no rights."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))


@pytest.mark.needs_rtx
def test_no_room_for_engines_is_no_fault_of_the_block(make: Make, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    engines = Engines(tmp_path / "full", Identity("tensorrt-rtx", "1", "8.9"))
    with Builder(60, build_command(library.RTX, "host")) as builder:
        signals = signal.getsignal(signal.SIGXFSZ)
        full_disk()  # inherited by the process that is started now
        try:
            with pytest.raises(
                CannotKeep, match=rf"cannot be kept in {engines.folder}: File too large; make room"
            ):
                builder.build(Request(Graph((SMALL,), "fp16"), engines))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, signals)
    assert not list(engines.folder.rglob("*.engine"))


# --- engines on disk ---

HERE = Identity("tensorrt", "11.0.0", "9.0", "Host GPU")


def engine(plan: bytes = b"plan\nwith lines") -> Engine:
    return Engine(plan, np.array([1.5, -2.0], np.float32))


def same(one: Engine | None, other: Engine) -> bool:
    return one is not None and (one.plan, one.checked, one.refused, one.expected.tolist()) == (
        other.plan,
        other.checked,
        other.refused,
        other.expected.tolist(),
    )


def test_an_engine_is_found_again_by_its_graph(tmp_path: Path) -> None:
    engines, graph = Engines(tmp_path, HERE), graph_hash(b"model", tf32=False)
    assert engines.load(graph) is None
    engines.store(graph, engine())
    assert same(engines.load(graph), engine())
    assert engines.load(graph_hash(b"model", tf32=True)) is None
    engines.mark_checked(graph, engine(), "Host GPU")
    assert same(engines.load(graph), replace(engine(), checked="Host GPU"))


@pytest.mark.parametrize(
    "other",
    [
        replace(HERE, version="10.16.1"),
        replace(HERE, gpu="Other GPU"),
        replace(HERE, capability="8.0"),
        replace(HERE, library="tensorrt-rtx"),
        replace(HERE, gpu="Host-GPU"),
    ],
    ids=["version", "GPU", "capability", "library", "a GPU of nearly that name"],
)
def test_an_engine_of_another_version_or_gpu_is_not_used(tmp_path: Path, other: Identity) -> None:
    graph = graph_hash(b"model", tf32=False)
    here, there = Engines(tmp_path, HERE), Engines(tmp_path, other)
    there.store(graph, engine(b"theirs"))
    assert here.load(graph) is None
    theirs = there.path(graph).read_bytes()
    here.store(graph, engine(b"ours"))
    here.path(graph).write_bytes(theirs)  # copied over by hand
    assert here.load(graph) is None
    assert here.damaged() == 1
    assert same(there.load(graph), engine(b"theirs"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c[:-1],
        lambda c: b"",
        lambda c: c.replace(b"plan", b"plam", 1),
        lambda c: c[:-1] + b"X",
        lambda c: c.replace(b'"expected": "AADAPwAAAMA="', b'"expected": "AACAPwAAAMA="'),
        lambda c: c.replace(b'"expected": "AADAPwAAAMA="', b'"expected": "AADA"'),
        lambda c: c.replace(b'"checked": ""', b'"checked": 1'),
    ],
)
def test_a_damaged_engine_is_not_used(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    engines, graph = Engines(tmp_path, HERE), graph_hash(b"model", tf32=False)
    engines.store(graph, engine())
    path = engines.path(graph)
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    assert engines.load(graph) is None
