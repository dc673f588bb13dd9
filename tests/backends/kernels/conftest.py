from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Build = Callable[..., Path]


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    *,
    shape: Sequence[Any],
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    inputs: Sequence[tuple[str, int, Sequence[Any] | None]] = (),
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(*one) for one in (inputs or [("x", TensorProto.FLOAT, shape)])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


@pytest.fixture
def tiny() -> Build:
    """Writes a model from nodes."""
    return save


def branches(path: Path, shape: Sequence[Any] = (1, 16, 12, 12)) -> Path:
    """A small CNN with a branch, a shortcut and two equal layers."""
    rng = np.random.default_rng(0)

    def weight(*size: int) -> np.ndarray:
        return (rng.standard_normal(size) * 0.1).astype(np.float32)

    constants = {f"w{i}": weight(16, 16, 3, 3) for i in range(3)}
    constants |= {"deep": weight(16, 1, 3, 3), "head": weight(16, 10), "bias": weight(10)}

    def conv(name: str, source: str, weights: str, **more: Any) -> onnx.NodeProto:
        return helper.make_node(
            "Conv", [source, weights], [f"{name}_out"], name=f"/{name}/conv/Conv", pads=[1, 1, 1, 1], **more
        )

    nodes = [
        conv("a", "x", "w0"),
        helper.make_node("Relu", ["a_out"], ["r0"], name="/a/relu/Relu"),
        conv("b", "r0", "w1"),
        helper.make_node("Relu", ["b_out"], ["r1"], name="/b/relu/Relu"),
        conv("c", "r1", "w2"),
        helper.make_node("Add", ["c_out", "r0"], ["s"], name="/c/Add"),
        conv("d", "r0", "deep", group=16),
        helper.make_node("Sigmoid", ["d_out"], ["g"], name="/d/Sigmoid"),
        helper.make_node("Mul", ["s", "g"], ["m"], name="/d/Mul"),
        helper.make_node("GlobalAveragePool", ["m"], ["p"], name="/pool/GlobalAveragePool"),
        helper.make_node("Flatten", ["p"], ["f"], name="/pool/Flatten"),
        helper.make_node("Gemm", ["f", "head", "bias"], ["y"], name="/head/Gemm"),
    ]
    return save(path, nodes, constants, shape=shape)


def attention(path: Path, tokens: int = 6, width: int = 8) -> Path:
    """One head of attention, with what an exporter makes of it: products, transposes, views, a split."""
    rng = np.random.default_rng(1)
    constants = {
        "qkv": rng.standard_normal((width, 3 * width)).astype(np.float32),
        "three": np.array([1, tokens, 3, width], np.int64),
        "axis": np.array([2], np.int64),
        "gain": np.ones(width, np.float32),
        "shift": np.zeros(width, np.float32),
    }
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gain", "shift"], ["n"], name="norm"),
        helper.make_node("MatMul", ["n", "qkv"], ["h"], name="/attn/qkv/MatMul"),
        helper.make_node("Reshape", ["h", "three"], ["h4"], name="/attn/Reshape"),
        helper.make_node("Split", ["h4"], ["q4", "k4", "v4"], axis=2, name="/attn/Split"),
        *(helper.make_node("Squeeze", [f"{n}4", "axis"], [n], name=f"/attn/{n}/Squeeze") for n in "qkv"),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1], name="/attn/Transpose"),
        helper.make_node("MatMul", ["q", "kt"], ["a"], name="/attn/MatMul"),
        helper.make_node("Softmax", ["a"], ["p"], name="/attn/Softmax"),
        helper.make_node("MatMul", ["p", "v"], ["o"], name="/attn/MatMul_1"),
        helper.make_node("Add", ["o", "x"], ["y"], name="/Add"),
    ]
    return save(path, nodes, constants, shape=(1, tokens, width))


@pytest.fixture
def cnn(tmp_path: Path) -> Path:
    """A small CNN with a branch."""
    return branches(tmp_path / "cnn.onnx")


@pytest.fixture
def transformer(tmp_path: Path) -> Path:
    """One head of attention."""
    return attention(tmp_path / "transformer.onnx")
