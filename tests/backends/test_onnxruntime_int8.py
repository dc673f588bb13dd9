"""Blocks in int8 are timed as they stand in a quantised network, and quantised networks compute what they should."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from backends.base import BackendUnavailable, Settings
from backends.kernels.files import model_of
from backends.kernels.graph import optimised
from backends.measuring.rotation import BLOCK_TIMING, EMPTY, NETWORK_TIMING
from backends.onnxruntime_cpu import OnnxRuntimeBackend, open_session
from backends.onnxruntime_int8 import part_of_network, quantised
from compofa.blocks import Block
from compofa.graph import network_to_onnx

STEM = Block("conv", (3, 16, 16), 8, kernel=3, stride=2, act="hswish")
PLAIN = Block("mbconv", (8, 8, 8), 8, hidden_channels=24, kernel=5, act="relu", shortcut=True)
GATED = Block("mbconv", (8, 8, 8), 16, hidden_channels=24, kernel=3, stride=2, act="hswish", se=True)
LAST = Block("conv", (16, 4, 4), 32, act="hswish")
POOL = Block("pool", (32, 4, 4), 32)
MIX = Block("mix", (32, 1, 1), 48, act="hswish")
LINEAR = Block("linear", (48, 1, 1), 10)
NETWORK = (STEM, PLAIN, GATED, LAST, POOL, MIX, LINEAR)


def kernels(model: onnx.ModelProto) -> Counter[Any]:
    """What ONNX Runtime runs of a model: operators, with what they give."""
    with optimised(model_of(model, "model", Path()), threads=1) as made:
        outputs = [cut.kernel and cut.kernel.outputs[0] for cut in made.cuts]
        # Where everything is one pixel, channels are first and last at once.
        return Counter(
            (node.op_type, tuple(sorted(out.shape)), out.dtype)
            for node, out in zip(made.nodes, outputs, strict=True)
            if out and not (node.op_type == "Transpose" and out.elements == max(out.shape))
        )


def test_blocks_run_the_kernels_that_their_network_runs() -> None:
    """No conversion, no transposition and no operator in floating point more or less."""
    whole = kernels(part_of_network(NETWORK))
    parts = sum((kernels(part_of_network((block,))) for block in NETWORK), Counter())
    assert parts == whole
    images = [{"x": np.random.default_rng(0).standard_normal((1, 3, 16, 16), dtype=np.float32)}]
    assert kernels(quantised(network_to_onnx(NETWORK), images)) == whole
    assert whole["QLinearConv", (1, 4, 4, 24), "uint8"] == 1 and not any(op == "Conv" for op, *_ in whole)


def test_a_quantised_network_computes_nearly_the_same() -> None:
    rng = np.random.default_rng(1)
    images = [{"x": rng.standard_normal((4, 3, 16, 16), dtype=np.float32)} for _ in range(5)]
    plain = network_to_onnx(NETWORK, batch=4)
    sessions = [open_session(m.SerializeToString(), 1) for m in (plain, quantised(plain, images))]
    exact, rounded = (np.array([s.run(None, feeds)[0] for feeds in images]) for s in sessions)
    assert 0 < np.abs(rounded - exact).max() < 0.2 * np.abs(exact).max()
    # Calibrated on next to nothing, it is far off: the data given are what ranges come from.
    blind = quantised(plain, [{"x": 0.01 * images[0]["x"]}])
    clipped = open_session(blind.SerializeToString(), 1).run(None, images[1])[0]
    assert np.abs(clipped - exact[1]).max() > 2 * np.abs(rounded - exact).max()


@pytest.fixture(scope="module")
def backend() -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(
        Settings("int8"),
        block_timing=replace(BLOCK_TIMING, rounds=3, max_warmup_ms=5.0, round_ms=1.0),
        network_timing=replace(NETWORK_TIMING, rounds=3, max_warmup_ms=5.0, round_ms=1.0),
    )


def test_blocks_and_networks_are_measured(backend: OnnxRuntimeBackend) -> None:
    large = replace(PLAIN, in_shape=(8, 32, 32), hidden_channels=240)
    nothing, small, more = backend.block_latencies([EMPTY, PLAIN, large])
    assert 0 < nothing.latency_ms < small.latency_ms < more.latency_ms
    (whole,) = backend.network_latencies([NETWORK])
    assert whole.latency_ms > small.latency_ms and whole.origin == "measured"


def test_its_tables_are_told_apart_but_rest_on_the_same_reference(backend: OnnxRuntimeBackend) -> None:
    plain = OnnxRuntimeBackend(Settings())
    assert backend.target != plain.target and backend.target.precision == "int8"
    assert "uint8" in dict(backend.target.details)["quantization"]
    assert backend.reference_target == plain.reference_target == plain.target


def test_other_providers_have_no_int8() -> None:
    with pytest.raises((ValueError, BackendUnavailable), match=r"int8|OpenVINO"):
        OnnxRuntimeBackend(Settings("int8", options={"provider": "openvino"}))
