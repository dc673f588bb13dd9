"""torch measures blocks in context and networks whole, on the host; on a GPU only where there is one."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backends import torch_backend
from backends.base import BackendUnavailable, BlocksFailed, CannotRun, Measurement, Settings
from backends.chained import CPU_TIMINGS, Timings
from backends.machine.cuda_probe import cuda_reason
from backends.machine.gpu import Gpu, check_precision
from backends.machine.host import usable_cores
from backends.measuring import METHOD
from backends.measuring.differencing import Plan
from backends.measuring.reference import REFERENCE, at_quietest
from backends.torch_backend import TorchBackend, TorchCpu
from compofa.blocks import Block
from compofa.network import arch_blocks
from compofa.spaces.arch import extreme
from compofa.spaces.registry import GLYPHS

SMALL = Block("mbconv", (16, 8, 8), 16, 32, kernel=3, act="relu", shortcut=True)
LARGE = Block("mbconv", (40, 28, 28), 40, 240, kernel=5, act="hswish", se=True, shortcut=True)
POOL = Block("pool", (16, 4, 4), 16)
QUICK = Timings(
    replace(CPU_TIMINGS.blocks, rounds=3, round_ms=2.0, max_warmup_ms=5.0),
    replace(CPU_TIMINGS.networks, rounds=3, round_ms=2.0, max_warmup_ms=5.0),
)


def make(precision: str = "fp32", batch: int = 1, threads: int = 1, **options: str) -> TorchBackend:
    return TorchBackend(Settings(precision, batch, threads, options=options), QUICK)


def test_blocks_are_told_apart_and_timed_alone_too() -> None:
    backend = make()
    pool, small, large = backend.block_latencies([POOL, SMALL, LARGE])
    assert 0 < small.latency_ms < large.latency_ms
    assert pool.latency_ms < large.latency_ms
    for found in (pool, small, large):
        assert found.origin == "measured" and len(found.rounds_ms) == 3
        assert dict(found.details)["alone_ms"] > 0
    assert backend.timing_s > 0


def test_the_sum_of_blocks_is_near_the_network() -> None:
    """Wide bounds, and three tries, for a busy machine."""
    network = arch_blocks(GLYPHS, extreme(GLYPHS, largest=True))
    ratios = []
    for _ in range(3):
        backend = make()
        total = sum(m.latency_ms for m in backend.block_latencies(network))
        (whole,) = backend.network_latencies([network])
        ratios.append(total / whole.latency_ms)
        if 0.5 < ratios[-1] < 2:
            return
    pytest.fail(f"sum / network: {ratios}")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
def test_it_runs_in_each_precision_and_layout(precision: str, layout: str) -> None:
    backend = make(precision, batch=2, layout=layout)
    run = backend._ready((LARGE,), seed=0)
    found = run()
    assert found.dtype == getattr(torch, torch_backend.DTYPES[precision])
    assert found.shape == (2, *LARGE.out_shape)
    if layout == "channels-last":
        assert found.is_contiguous(memory_format=torch.channels_last)
    expected = make(layout=layout, batch=2)._ready((LARGE,), seed=0)()
    error = (found.float() - expected).norm() / expected.norm()
    assert error < {"fp32": 1e-6, "fp16": 1e-2, "bf16": 5e-2}[precision]


@pytest.mark.slow
def test_a_compiled_network_computes_the_same() -> None:
    expected, found = (make(mode=mode)._ready((SMALL, SMALL), seed=1)() for mode in ("eager", "compile"))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)


@pytest.mark.slow
def test_every_network_is_compiled_for_itself() -> None:
    """Of modules of one class dynamo compiles eight, the later ones for any size, and runs the rest as they are."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    backend = make(mode="compile")
    assert dict(backend.target.details)["compiled"] == "alone"
    for size in range(4, 16):
        counters.clear()
        backend._ready((Block("conv", (4, size, size), 4, kernel=3),), seed=0)
        assert counters["stats"]["unique_graphs"] == 1, size
        assert not counters["recompile_limit"] and not counters["graph_break"]


def test_without_a_compiler_compiling_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchDynamoException

    for reason, kind in (
        ("InvalidCxxCompiler: No working C++ compiler found", BackendUnavailable),
        ("bad", CannotRun),
    ):

        def fail(*given: Any, reason: str = reason) -> None:
            raise TorchDynamoException(reason)

        backend = make(mode="compile")
        monkeypatch.setattr(backend, "_module_run", lambda *given: fail)
        with pytest.raises(kind):
            backend._ready((SMALL,), seed=0)


def test_the_target_says_what_decides_the_speed() -> None:
    target = make("bf16", batch=4, threads=2, layout="contiguous").target
    assert (target.precision, target.batch, target.threads) == ("bf16", 4, 2)
    details = dict(target.details)
    assert (details.pop("timing"), details.pop("clock")) == (METHOD, "wall time")
    assert details == {"device": "cpu", "layout": "contiguous", "mode": "eager"}
    assert dict(target.versions) == {"torch": torch.__version__}
    assert TorchBackend.options_of(target) == details
    assert make("bf16", 4, 2, **TorchBackend.options_of(target)).target == target


def test_the_reference_is_measured_with_the_device_set_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A table's header asks for it before any block is measured; on a GPU it ran on another stream than its events."""
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    threads: list[int] = []

    def watched(*args: Any) -> Any:
        threads.append(torch.get_num_threads())
        return at_quietest(*args)

    monkeypatch.setattr("backends.measuring.backend.at_quietest", watched)
    monkeypatch.setattr("backends.measuring.backend.MEASURE_S", 0.02)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert make(threads=1).reference is not None
    finally:
        torch.set_num_threads(before)
    assert threads == [1]


def test_threads_are_set_while_it_runs_and_put_back() -> None:
    before = torch.get_num_threads()
    with TorchCpu(before + 1).active():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings("int4"), "no precision 'int4'; it has fp32, tf32, fp16, bf16"),
        (Settings("tf32"), "tf32 needs --device cuda"),
        (Settings(batch=0), "batch must be at least 1"),
        (Settings(threads=0), "threads must be at least 1"),
        (Settings(options={"mode": "graph"}), "--mode graph needs --device cuda; on the cpu there are eager"),
        (
            Settings(options={"device": "gpu"}),
            "option device of backend torch is one of cpu, cuda, not 'gpu'",
        ),
        (Settings(options={"tune": "yes"}), "no option tune; it has device, mode, layout"),
    ],
)
def test_what_it_cannot_do_is_refused(settings: Settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchBackend(settings)


def test_a_batch_that_does_not_fit_fails_alone() -> None:
    """A petabyte of input is refused by the allocator at once."""
    backend = make(batch=10**11)
    with pytest.raises(BlocksFailed, match="out of memory") as failed:
        backend.block_latencies([LARGE])
    assert failed.value.reasons.keys() == {LARGE}
    with pytest.raises(CannotRun, match="out of memory"):
        backend.network_latencies([(LARGE,)])


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_backend, "find_spec", lambda name: None)
    assert "pip install 'hwbench[torch]'" in (TorchBackend.probe() or "")


def test_what_is_held_ready_fits_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make()
    seen: list[int] = []
    monkeypatch.setattr(
        type(backend), "_block_costs", lambda self, plan: seen.append(len(plan.blocks)) or list(plan.blocks)
    )
    backend.device.memory_bytes = 1
    assert backend.block_latencies([SMALL, LARGE, POOL]) == [SMALL, LARGE, POOL]  # type: ignore[comparison-overlap]
    assert seen == [1, 1, 1]


# --- on a GPU ---


@pytest.mark.parametrize(
    ("precision", "capability", "refused"),
    [
        ("bf16", (7, 5), True),
        ("bf16", (8, 0), False),
        ("tf32", (7, 0), True),
        ("fp16", (5, 2), True),
        ("fp16", (7, 5), False),
        ("fp32", (3, 5), False),
        ("int8", (6, 0), True),
    ],
)
def test_a_precision_that_the_gpu_lacks(precision: str, capability: tuple[int, int], refused: bool) -> None:
    if not refused:
        check_precision(precision, "GPU", capability)
        return
    with pytest.raises(ValueError, match=f"has no {precision}, which takes .*; it has fp32"):
        check_precision(precision, "GPU", capability)


CUDA_CALLS = {
    torch.cuda.Stream: ("synchronize", "cuda_stream"),
    torch.cuda.Event: ("record", "synchronize", "elapsed_time"),
    torch.cuda.CUDAGraph: ("replay",),
}


def test_what_is_used_of_torch_cuda_is_there() -> None:
    """torch's build for the host has all of these names, though none of them works."""
    for kind, names in CUDA_CALLS.items():
        for name in names:
            assert hasattr(kind, name) or name == "cuda_stream", (kind, name)
    assert {"pool", "stream"} <= inspect.signature(torch.cuda.graph.__init__).parameters.keys()
    assert {"enabled", "benchmark", "allow_tf32"} <= inspect.signature(
        torch.backends.cudnn.flags
    ).parameters.keys()
    for name in ("graph_pool_handle", "get_device_properties", "device", "stream", "is_available"):
        assert callable(getattr(torch.cuda, name))


@pytest.mark.skipif(cuda_reason() is not None, reason="no GPU")
@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_a_gpu_measures_blocks_in_context(mode: str) -> None:
    backend = TorchBackend(Settings("fp16", options={"device": "cuda", "mode": mode}))
    small, large = backend.block_latencies([SMALL, LARGE])
    assert small.latency_ms > 0 and large.latency_ms > 0
    assert {"alone_ms", "flushed_ms"} <= dict(large.details).keys()
    assert isinstance(backend.device, Gpu)


def test_a_part_that_fails_takes_no_finished_part_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is given as soon as it is done; of those that fail, all reasons are told."""
    backend = make()
    backend.device.memory_bytes = 1
    measured = Measurement("measured", 1.0, 1.0, 1.0)

    def costs(self: TorchBackend, plan: Plan) -> list[Measurement]:
        if LARGE in plan.blocks:
            raise BlocksFailed({LARGE: "does not fit"})
        return [measured] * len(plan.blocks)

    monkeypatch.setattr(TorchBackend, "_block_costs", costs)
    batches = list(backend.as_they_come([SMALL, LARGE, POOL]))
    assert [dict(batch.entries) for batch in batches] == [{SMALL: measured}, {}, {POOL: measured}]
    assert [batch.failures for batch in batches] == [{}, {LARGE: "does not fit"}, {}]
    with pytest.raises(BlocksFailed) as failed:
        backend.block_latencies([SMALL, LARGE, POOL])
    assert failed.value.reasons == {LARGE: "does not fit"}


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(ValueError, match=f"on the {usable_cores()} cores? that this process may use"):
        make(threads=usable_cores() + 1)


def test_the_reference_has_every_operator() -> None:
    (block,) = REFERENCE
    assert block.se and block.shortcut and block.expands and block.act == "hswish"
