"""Nodes are cut out of what the runtime made, equal ones are one kernel, and alone they compute the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from backends.kernels import layers
from backends.kernels.files import read_model
from backends.kernels.graph import optimised
from backends.kernels.kernel import Kernel
from backends.kernels.precision import converted
from backends.kernels.verify import errors
from compofa.errors import InputError

Build = Callable[..., Path]


@pytest.mark.parametrize("which", ["cnn", "transformer"])
def test_kernels_give_the_networks_own_values(which: str, request: pytest.FixtureRequest) -> None:
    with optimised(read_model(request.getfixturevalue(which)), 1) as made:
        found = dict(errors(made))
        assert len(found) == len(made.nodes) > 5
        assert max(found.values()) < 1e-5


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_so_they_do_in_other_precisions(precision: str, cnn: Path) -> None:
    model = converted(read_model(cnn), precision)
    with optimised(model, 1) as made:
        assert max(error for _, error in errors(made)) < 1e-2
    kept = {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in model.proto.graph.initializer}
    assert {"int8": "INT8", "fp16": "FLOAT16"}[precision] in kept


def test_a_kernel_that_computes_something_else_is_found(cnn: Path) -> None:
    with optimised(read_model(cnn), 1) as made:
        gemm = next(cut for cut in made.cuts if cut.kernel and cut.kernel.op == "Gemm")
        node = made.proto.graph.node[gemm.index]
        changed = onnx.TensorProto()
        changed.CopyFrom(made.constants["bias"])
        changed.raw_data = (np.frombuffer(changed.raw_data, np.float32) + 1).tobytes()
        made.constants[node.input[2]] = changed
        assert dict(errors(made))[gemm] > 1e-2


def test_equal_nodes_are_one_kernel(cnn: Path) -> None:
    with optimised(read_model(cnn), 1) as made:
        dense = [cut.kernel for cut in made.cuts if cut.kernel and "16x16x3x3" in str(cut.kernel)]
        assert len(dense) == 3 and len(set(dense)) == 2  # with ReLU twice, and with the sum


def test_the_fused_sum_is_written_over_where_nobody_needs_it(tmp_path: Path, tiny: Build) -> None:
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["a"]),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    with optimised(read_model(tiny(tmp_path / "x.onnx", nodes, {}, shape=(2, 3))), 1) as made:
        # Not the input of the model, not a value that is needed later; the last use may.
        assert [cut.kernel.in_place for cut in made.cuts if cut.kernel] == [None, None, 0]


def test_layers_are_the_users_own(cnn: Path) -> None:
    model = read_model(cnn)
    with optimised(model, 1) as made:
        names = layers.layers(model.proto.graph, made.nodes)
    assert "head" in names and {"a.relu", "b.relu"} <= set(names) and "" not in names


def test_nested_paths_of_torch_are_joined() -> None:
    node = helper.make_node("Conv", ["x"], ["y"], name="/blocks/blocks.0/blocks.0.1/se/conv_reduce/Conv")
    assert layers.layer_of(node) == "blocks.0.1.se.conv_reduce"
    pair = onnx.StringStringEntryProto(key=layers.SCOPES, value="['', 'layer1', 'layer1.0', 'conv']")
    node.metadata_props.append(pair)
    assert layers.layer_of(node) == "layer1.0"


def test_control_flow_is_named_and_the_rest_goes_on(tmp_path: Path, tiny: Build) -> None:
    def branch(op: str, name: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3])
        return helper.make_graph([helper.make_node(op, ["r"], [name])], name, [], [out])

    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("ReduceSum", ["r"], ["t"], keepdims=0, name="sum"),
        helper.make_node("Cast", ["t"], ["c"], to=TensorProto.BOOL, name="cast"),
        helper.make_node(
            "If", ["c"], ["y"], name="choice", then_branch=branch("Exp", "e"), else_branch=branch("Neg", "n")
        ),
    ]
    with optimised(read_model(tiny(tmp_path / "x.onnx", nodes, {}, shape=(2, 3))), 1) as made:
        lost = [cut for cut in made.cuts if not cut.kernel]
        assert len(lost) == 1 and "control flow" in lost[0].why_not
        assert len(made.cuts) > 2


def test_a_kernel_comes_back_from_what_it_says(transformer: Path) -> None:
    with optimised(read_model(transformer), 1) as made:
        for cut in made.cuts:
            assert cut.kernel
            again = Kernel.from_dict(cut.kernel.to_dict())
            assert again == cut.kernel and again.key == cut.kernel.key


@pytest.mark.parametrize(
    "change",
    [
        {"op": 3},
        {"since": "x"},
        {"inputs": None},
        {"inputs": ["float32"]},
        {"inputs": ["float32 9x-1"]},
        {"inputs": ["float32 999999999999999x999999999999999"]},
        {"outputs": [4]},
        {"in_place": 7},
        {"attributes": []},
    ],
)
def test_what_is_no_kernel_is_refused(change: dict[str, object]) -> None:
    fields = {"op": "Relu", "since": 14, "inputs": ["float32 2x3"], "outputs": ["float32 2x3"]}
    assert Kernel.from_dict(fields).input_bytes == 24
    with pytest.raises(InputError):
        Kernel.from_dict(fields | change)
