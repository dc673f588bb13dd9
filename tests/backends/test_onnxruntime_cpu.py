from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backends import onnxruntime_cpu
from backends.base import BackendUnavailable, Settings
from backends.machine.host import usable_cores
from backends.measuring import rotation
from backends.measuring.rotation import BLOCK_TIMING, EMPTY, NETWORK_TIMING
from backends.onnxruntime_cpu import OnnxRuntimeBackend, bound_run, open_session
from compofa.blocks import Block
from compofa.graph import network_to_onnx
from compofa.network import arch_blocks
from compofa.spaces.arch import extreme
from compofa.spaces.registry import get_family

SMALL = Block("mbconv", (8, 8, 8), 8, hidden_channels=24, kernel=3, act="relu", shortcut=True)
LARGE = Block("mbconv", (40, 28, 28), 40, hidden_channels=240, kernel=5, act="hswish", se=True, shortcut=True)
POOL = Block("pool", (8, 1, 1), 8)


@pytest.fixture(scope="module")
def backend() -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(
        Settings(),
        block_timing=replace(BLOCK_TIMING, rounds=3, max_warmup_ms=5.0, round_ms=1.0),
        network_timing=replace(NETWORK_TIMING, rounds=3, max_warmup_ms=5.0, round_ms=1.0),
    )


def test_blocks_cost_more_than_nothing_and_large_ones_more_than_small(backend: OnnxRuntimeBackend) -> None:
    pool, small, large = backend.block_latencies([POOL, SMALL, LARGE])
    assert 0 < pool.latency_ms < small.latency_ms < large.latency_ms
    assert large.low_ms <= large.latency_ms <= large.high_ms
    assert large.origin == "measured" and len(large.rounds_ms) == 3
    assert backend.timing_s > 0


def test_the_sum_of_blocks_is_near_the_network() -> None:
    """Wide bounds, for a busy machine; with the default timing, which is what tables are made with."""
    family = get_family("glyphs")
    network = arch_blocks(family, extreme(family, largest=True))
    backend = OnnxRuntimeBackend(Settings())
    total = sum(m.latency_ms for m in backend.block_latencies(network))
    (whole,) = backend.network_latencies([network])
    assert 0.5 < total / whole.latency_ms < 2


def test_few_blocks_are_timed_as_among_many(backend: OnnxRuntimeBackend) -> None:
    assert len(backend.block_latencies([SMALL])) == 1
    assert len(backend.block_latencies([SMALL] * 30)) == 30


def test_a_block_lost_in_the_cost_of_the_call_is_marked(backend: OnnxRuntimeBackend) -> None:
    """The empty model less itself is zero, give or take: never negative, and not to be trusted."""
    (nothing,) = backend.block_latencies([EMPTY])
    assert 0 < nothing.latency_ms < 0.05
    assert nothing.noisy


def test_nothing_gives_nothing(backend: OnnxRuntimeBackend) -> None:
    assert backend.block_latencies([]) == [] == backend.network_latencies([])


def test_networks_are_timed_in_order_though_memory_holds_one(
    backend: OnnxRuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "MAX_PARAMS", 1)
    small, large, again = backend.network_latencies([(SMALL,), (LARGE,), (SMALL,)])
    assert small.latency_ms < large.latency_ms > again.latency_ms


def test_the_target_names_the_machine_and_the_version(backend: OnnxRuntimeBackend) -> None:
    target = backend.target
    assert target.backend == "onnxruntime" and target.device
    assert dict(target.versions).keys() == {"onnxruntime"}
    assert type(target).from_dict(target.to_dict()) == target


def test_a_bound_run_computes_the_model() -> None:
    """The bound output is written: a run that did nothing would be very fast indeed."""
    model = network_to_onnx([SMALL], batch=2).SerializeToString()
    session = open_session(model, threads=1)
    run = bound_run(session, seed=3)
    run()
    x = np.random.default_rng(3).standard_normal((2, *SMALL.in_shape), dtype=np.float32)
    (expected,) = session.run(["y"], {"x": x})
    assert np.abs(expected).max() > 0.1
    binding = next(c.cell_contents for c in run.__closure__ or () if hasattr(c.cell_contents, "get_outputs"))
    np.testing.assert_array_equal(binding.get_outputs()[0].numpy(), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(precision="int4"), "no precision 'int4'; it has fp32, int8"),
        (Settings(threads=0), "at least 1"),
        (Settings(batch=0), "at least 1"),
        (Settings(threads=10**6), "1000000 threads cannot run at once"),
        (Settings(options={"tune": "yes"}), "no option tune; it has"),
    ],
)
def test_what_it_cannot_do_is_refused(settings: Settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OnnxRuntimeBackend(settings)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime_cpu, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"pip install .hwbench\[onnxruntime\]"):
        OnnxRuntimeBackend(Settings())


@pytest.mark.skipif(usable_cores() < 2, reason="one core runs one thread")
def test_with_several_threads_blocks_are_measured_in_chains(monkeypatch, tmp_path):
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    monkeypatch.setattr("backends.measuring.backend.MEASURE_S", 0.05)
    one, two = (OnnxRuntimeBackend(Settings(threads=threads)) for threads in (1, 2))
    assert "blocks" not in dict(one.target.details)
    assert dict(two.target.details)["blocks"] == "in chains"
    assert replace(two.target, threads=1) != one.target  # such tables never merge
    (block,) = two.block_latencies([LARGE])
    (network,) = two.network_latencies([(LARGE, LARGE)])
    assert two.timing_s > 0 and two.reference is not None
    assert 0 < block.latency_ms < 3 * network.latency_ms  # two threads on a busy machine say little
    assert float(dict(block.details)["alone_ms"]) > 0
