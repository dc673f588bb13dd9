"""Weights stay in the file: what is left refers to them, and nothing else changes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_model

from backends.kernels.files import read_model
from backends.kernels.graph import optimised
from backends.kernels.lean import LEAST_BYTES, Torn, lean


def test_what_is_left_is_the_model_without_its_weights(cnn: Path) -> None:
    whole = onnx.load(str(cnn))
    large = [t for t in whole.graph.initializer if len(t.raw_data) >= LEAST_BYTES]
    left = onnx.ModelProto.FromString(lean(cnn))
    assert large and sum(t.data_location == t.EXTERNAL for t in left.graph.initializer) == len(large)
    assert left.ByteSize() < cnn.stat().st_size - sum(len(t.raw_data) for t in large) + 100 * len(large)
    load_external_data_for_model(left, str(cnn.parent))
    for tensor in left.graph.initializer:  # as it was, but for where it says that it lies
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    for tensor in whole.graph.initializer:
        tensor.ClearField("data_location")
    assert left == whole


def test_the_runtime_finds_the_weights(cnn: Path) -> None:
    import onnxruntime

    x = None
    with optimised(read_model(cnn), threads=1) as made:
        x = made.feeds
        (found,) = made.whole().run(None, x)
    session = onnxruntime.InferenceSession(str(cnn), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(found, session.run(None, x)[0], rtol=1e-4, atol=1e-5)


def test_numbers_that_are_no_raw_bytes_stay(tmp_path: Path) -> None:
    tensor = helper.make_tensor("w", onnx.TensorProto.FLOAT, [2000], [0.5] * 2000)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2000])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2000])
    model = helper.make_model(helper.make_graph([node], "g", [value], [out], [tensor]))
    onnx.save(model, str(tmp_path / "m.onnx"))
    left = onnx.ModelProto.FromString(lean(tmp_path / "m.onnx"))
    assert numpy_helper.to_array(left.graph.initializer[0]).sum() == 1000


def test_damage_is_never_anything_but_torn(cnn: Path, tmp_path: Path) -> None:
    content = cnn.read_bytes()
    rng, path, torn = random.Random(0), tmp_path / "d.onnx", 0
    for _ in range(200):
        damaged = bytearray(content[: rng.randrange(1, len(content))] if rng.random() < 0.5 else content)
        damaged[rng.randrange(min(len(damaged), 400))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            lean(path)
        except Torn:
            torn += 1
    assert torn > 50
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(Torn):
        lean(path)
