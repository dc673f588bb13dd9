"""OpenVINO as a second runtime: what it fused is cut out whole, computes what it does in the network, and is timed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brief_timing import time_briefly
from commands import predict, profile
from onnx import TensorProto, helper

from backends.base import BackendUnavailable, Settings
from backends.kernels.costs import operations
from backends.kernels.files import read_model
from backends.kernels.kernel import Kernel
from backends.kernels.openvino_graph import openvino_model
from backends.kernels.openvino_groups import NOT_RUN
from backends.kernels.openvino_pieces import Flow
from backends.kernels.runtimes import RUNTIMES
from backends.kernels.verify import errors
from backends.openvino_cpu import OpenVinoBackend, compiled_model
from compofa.errors import InputError
from lut.kernels.compare import compare
from lut.kernels.likeness import work
from lut.kernels.table import load

Build = Callable[..., Path]


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown is under test, not how well it was measured."""
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path / "home"))
    time_briefly(monkeypatch)


def test_without_openvino_one_line_says_what_to_install(
    cnn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("backends.openvino_cpu.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match="pip install 'hwbench\\[openvino\\]'"):
        RUNTIMES["openvino"](Settings())
    assert profile.main([str(cnn), "--backend", "openvino", "--no-lut"]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_other_precisions_are_refused(cnn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile.main([str(cnn), "--backend", "openvino", "--precision", "int8", "--no-lut"]) == 2
    assert "for --backend onnxruntime, not openvino" in capsys.readouterr().err


def kernel(op: str, x: str, weights: str, **more: object) -> Kernel:
    inputs = [f"float32 {x}", f"float32 {weights} constant"]
    return Kernel.from_dict({"op": op, "since": 1, "inputs": inputs, "outputs": [f"float32 {x}"], **more})


def test_work_is_the_same_whatever_is_fused_to_it() -> None:
    assert work(kernel("FusedConv", "1x64x8x8", "64x64x3x3")) == work(
        kernel("Convolution+Add+Relu", "1x64x8x8", "64x64x3x3", domain="openvino")
    )
    assert work(kernel("Conv", "1x64x8x8", "64x1x3x3")) == work(
        kernel("GroupConvolution", "1x64x8x8", "64x1x1x3x3")
    )
    assert work(kernel("Gemm", "6x8", "8x24")) == work(kernel("MatMul+Add", "1x6x8", "24x8"))
    assert work(kernel("Conv", "1x64x8x8", "64x64x3x3")) != work(kernel("Conv", "1x64x9x9", "64x64x3x3"))
    assert work(kernel("Softmax", "6x8", "8")) is None


LAST = (0, 2, 3, 1)
"""Channels last."""


def steps(model: Any) -> int:
    """Nodes that OpenVINO runs, but for changes of layout."""
    kinds = [
        str(node.get_rt_info()["layerType"].astype(str))
        for node in compiled_model(model, threads=1).get_runtime_model().get_ordered_ops()
    ]
    return sum(kind not in NOT_RUN for kind in kinds)


class TestWithOpenVino:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("openvino", reason="pip install 'hwbench[openvino]'")

    @pytest.mark.parametrize("which", ["cnn", "transformer"])
    def test_kernels_alone_give_the_networks_own_values(
        self, which: str, request: pytest.FixtureRequest
    ) -> None:
        with RUNTIMES["openvino"](Settings()).made(read_model(request.getfixturevalue(which))) as made:
            found = list(errors(made))
            assert len(found) == len(made.cuts) and max(error for _, error in found) < 1e-4

    def test_what_is_fused_is_one_kernel(self, cnn: Path) -> None:
        with RUNTIMES["openvino"](Settings()).made(read_model(cnn)) as made:
            kernels = [cut.kernel for cut in made.cuts if cut.kernel]
            dense = [k for k in kernels if "16x16x3x3" in str(k)]
            assert len(dense) == 3 and [k.op for k in dense].count("Convolution+Relu") == 2
            assert operations(dense[0]) >= 2 * 16 * 12 * 12 * 16 * 9
            assert {"a.relu", "d", "head"} <= {cut.layer for cut in made.cuts}

    def test_where_only_sizes_of_1_move_nothing_does(self) -> None:
        from openvino import Type, opset13

        flat, square = (
            opset13.parameter(shape, Type.f32).output(0) for shape in ([1, 8, 1, 1], [1, 8, 2, 1])
        )
        assert Flow.of(flat, LAST).plain and Flow.of(square, ()).plain
        assert Flow.of(square, LAST).lies_as == (1, 2, 1, 8) and not Flow.of(square, LAST).plain

    def test_all_that_is_run_besides_a_kernel_is_taken_off(self, cnn: Path) -> None:
        with openvino_model(read_model(cnn), threads=1) as model:
            pieces = [model._piece(cut) for cut in model.cuts if cut.kernel]
            anchored = [
                piece for piece in pieces if piece.anchored and all(map(piece.stays_inside, piece.gives))
            ]
            assert anchored
            for piece in anchored:
                alone, beside = model._cutter.piece(piece), model._cutter.beside(piece)
                assert steps(alone) - steps(beside) == 1

    def test_a_profile_goes_into_a_table_of_its_own_and_is_held_against_another(
        self, cnn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        one, other = tmp_path / "ort.jsonl", tmp_path / "ov.jsonl"
        assert profile.main([str(cnn), "--lut", str(one)]) == 0
        capsys.readouterr()
        arguments = [str(cnn), "--backend", "openvino", "--against", str(one)]
        assert profile.main([*arguments, "--lut", str(other), "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["latency_ms"] > 0 and not document["not_timed"]
        assert document["target"]["backend"] == "openvino" and document["target"]["versions"]["openvino"]
        against = document["against"]
        assert against["matched"] == "by their main work" and against["common"] >= 3
        assert against["whole_there_ms"] == load(one).networks[0].measurement.latency_ms
        assert len(load(other).entries) == document["kernels_added"]
        # Tables of two runtimes do not mix, and one does not predict for the other.
        assert profile.main([*arguments, "--lut", str(one)]) == 2
        assert "openvino" in capsys.readouterr().err
        assert predict.main(["--onnx", str(cnn), "--lut", str(other)]) == 2
        assert "a table of openvino" in capsys.readouterr().err

    def test_what_openvino_cannot_run_is_named(self, tmp_path: Path) -> None:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
        node = helper.make_node("Strange", ["x"], ["y"], domain="mine")
        graph = helper.make_graph([node], "strange", values[:1], values[1:])
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
        path = tmp_path / "strange.onnx"
        path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
        made = RUNTIMES["openvino"](Settings()).made(read_model(path))
        with pytest.raises(InputError, match=r"strange: OpenVINO .*Strange"), made:
            pass

    def test_a_shape_known_only_in_a_run_is_named(self, tmp_path: Path, tiny: Build) -> None:
        nodes = [
            helper.make_node("Exp", ["x"], ["e"], name="/e/Exp"),
            helper.make_node("NonZero", ["e"], ["n"], name="/n/NonZero"),
            helper.make_node("Cast", ["n"], ["y"], to=TensorProto.FLOAT, name="/n/Cast"),
        ]
        path = tiny(tmp_path / "open.onnx", nodes, {}, shape=(2, 3))
        with RUNTIMES["openvino"](Settings()).made(read_model(path)) as made:
            found = {cut.op: cut.why_not for cut in made.cuts}
            assert "known only in a run" in found["NonZero"] and not found["Exp"]

    def test_blocks_are_not_its_business(self) -> None:
        with pytest.raises(InputError, match="not blocks"):
            OpenVinoBackend(Settings()).block_latencies([])


def test_a_table_of_the_same_runtime_is_compared_as_it_is() -> None:
    from backends.base import Measurement, Target
    from lut.kernels.table import Header, KernelTable

    one = kernel("Conv", "1x64x8x8", "64x64x3x3")
    ms = Measurement("measured", 1.0, 1.0, 1.0)
    table = KernelTable(Header(Target("onnxruntime", "x")), {one: ms})
    fused = kernel("FusedConv", "1x64x8x8", "64x64x3x3")
    assert compare({fused: ms}, {fused: 1}, table)["common"] == 0
    assert compare({fused: ms}, {fused: 1}, table, by_work=True)["common"] == 1
    assert np.isclose(compare({one: ms}, {one: 2}, table)["there_ms"], 2.0)
