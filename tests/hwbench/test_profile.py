"""Profiles of tiny models: what the command shows, keeps and refuses; and predictions from the table that it filled."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from brief_timing import time_briefly
from commands import collect, predict, profile
from onnx import TensorProto, helper, numpy_helper

import hwbench
from backends.base import Measurement
from lut.kernels.table import load


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True, scope="module")
def quick() -> Any:
    """What is shown is under test, not how well it was measured."""
    with pytest.MonkeyPatch.context() as patch:
        time_briefly(patch)
        yield


def model(path: Path, width: int = 16, shape: tuple[Any, ...] = (1, 8, 10, 10), random: bool = False) -> Path:
    rng = np.random.default_rng(width)
    weights = {
        "w0": rng.standard_normal((width, 8, 3, 3)).astype(np.float32),
        "w1": rng.standard_normal((width, width, 1, 1)).astype(np.float32),
        "head": rng.standard_normal((width, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="/stem/conv/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="/stem/act/Relu"),
        helper.make_node("Conv", ["b", "w1"], ["c"], name="/body/conv/Conv"),
        helper.make_node("Add", ["c", "b"], ["d"], name="/body/Add"),
        helper.make_node("GlobalAveragePool", ["d"], ["p"], name="/pool/GlobalAveragePool"),
        helper.make_node("Flatten", ["p"], ["f"], name="/pool/Flatten"),
        helper.make_node("MatMul", ["f", "head"], ["z" if random else "y"], name="/head/MatMul"),
    ]
    if random:
        nodes.append(helper.make_node("RandomNormalLike", ["z"], ["n"], name="noise"))
        nodes.append(helper.make_node("Add", ["z", "n"], ["y"], name="/noise/Add"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def test_everything_is_shown_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, lut = model(tmp_path / "tiny.onnx"), tmp_path / "k.jsonl"
    table, picture = tmp_path / "k.csv", tmp_path / "p.png"
    args = [str(path), "--lut", str(lut), "--csv", str(table), "--out", str(picture), "--json"]
    assert profile.main(args) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["origin"] == "measured" and document["latency_ms"] > 0
    assert document["low_ms"] <= document["latency_ms"] <= document["high_ms"]
    layers = {name for kernel in document["kernels"] for name in kernel["layers"]}
    assert {"stem.act", "head"} <= layers
    assert sum(kernel["share_pct"] for kernel in document["kernels"]) == pytest.approx(100, abs=0.1)
    unexplained = document["latency_ms"] - document["sum_of_kernels_ms"]
    assert document["unexplained_ms"] == pytest.approx(unexplained)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert {row["kernel"] for row in rows} == {kernel["kernel"] for kernel in document["kernels"]}
    assert picture.read_bytes().startswith(b"\x89PNG")
    kept = load(lut)
    assert len(kept.entries) == document["kernels_added"] == len(document["kernels"])
    assert [n.name for n in kept.networks] == ["tiny"]
    # A second model adds what is new; a table of its own is not needed.
    assert profile.main([str(model(tmp_path / "other.onnx", width=24)), "--lut", str(lut)]) == 0
    out = capsys.readouterr().out
    assert "ms measured" in out and "GFLOP/s" in out and "unexplained" in out
    assert [n.name for n in load(lut).networks] == ["tiny", "other"]


def test_precisions_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model(tmp_path / "tiny.onnx")
    assert profile.main([str(path), "--precision", "int8", "--precision", "fp16", "--no-lut"]) == 0
    out, err = capsys.readouterr()
    assert "in 3 precisions" in out and "QLinearConv" in out
    assert "computes this model in fp32" in err
    assert not (tmp_path / "home" / "tables").exists()


def test_own_data_tell_how_far_int8_is_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, data = model(tmp_path / "tiny.onnx"), tmp_path / "own.npz"
    np.savez(data, x=np.random.default_rng(0).standard_normal((20, 1, 8, 10, 10)))
    assert profile.main([str(path), "--precision", "int8", "--calibration", str(data), "--no-lut"]) == 0
    said = capsys.readouterr().err
    off = float(said.partition("its output is ")[2].split()[0])
    assert 0.1 < off < 10 and "on 20 inputs given" in said and "times of 100" in said


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"z": np.ones((2, 1, 8, 10, 10))}, "holds arrays called z; tiny has the inputs x"),
        ({"x": np.ones((2, 8, 10, 10))}, "(N, 1, 8, 10, 10)"),
        ({"x": np.ones((0, 1, 8, 10, 10))}, "one or more"),
        ({"x": np.array(["a"])}, "something else than arrays of numbers"),
        (None, "no .npz file, or a truncated one"),
    ],
)
def test_data_that_do_not_fit_are_one_line(
    arrays: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "own.npz"
    if arrays:
        np.savez(data, **arrays)
    else:
        data.write_bytes(b"PK\x03\x04 torn")
    path = model(tmp_path / "tiny.onnx")
    assert profile.main([str(path), "--precision", "int8", "--calibration", str(data)]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_two_tables_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, lut = model(tmp_path / "tiny.onnx"), tmp_path / "k.jsonl"
    assert profile.main([str(path), "--lut", str(lut)]) == 0
    capsys.readouterr()
    assert profile.main([str(path), "--no-lut", "--against", str(lut), "--json"]) == 0
    against = json.loads(capsys.readouterr().out)["against"]
    assert against["common"] == against["distinct"] > 3


def test_a_kernel_that_cannot_run_alone_is_named_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from backends.kernels.graph import OptimisedModel
    from compofa.errors import RunFailed

    alone = OptimisedModel.alone

    def broken(self: OptimisedModel, cut: Any, *rest: Any) -> Any:
        if cut.op == "MatMul":
            raise RunFailed("it is broken")
        return alone(self, cut, *rest)

    monkeypatch.setattr(OptimisedModel, "alone", broken)
    assert profile.main([str(model(tmp_path / "tiny.onnx")), "--no-lut", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["not_timed"].values()) == ["it is broken"] and document["sum_of_kernels_ms"] > 0
    assert "MatMul" not in {kernel["operator"] for kernel in document["kernels"]}


def test_a_random_output_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile.main([str(model(tmp_path / "tiny.onnx", random=True)), "--no-lut"]) == 0
    assert "not deterministic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.onnx"], "missing.onnx: No such file or directory"),
        (["tiny.onnx", "--input", "x"], "is not NAME=SHAPE"),
        (["tiny.onnx", "--out", "picture.txt"], "must end in one of"),
        (["tiny.onnx", "--backend", "torch"], "not torch"),
        (["tiny.onnx", "--against", "tiny.onnx"], "an ONNX model"),
        (["tiny.onnx", "--calibration", "x.npz"], "is for --precision int8"),
        (["open.onnx"], "give --input x=SHAPE or --batch N"),
        (["tiny.onnx", "--lut", "other.jsonl"], "another runtime version"),
        (
            ["tiny.onnx", "--lut", "tvm.jsonl"],
            "is a table of tvm, whose kernels are not those of onnxruntime",
        ),
        (["newer.onnx"], "IR version 99, and ONNX Runtime here reads up to"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    model(tmp_path / "tiny.onnx")
    model(tmp_path / "open.onnx", shape=("n", 8, 10, 10))
    other = {"backend": "onnxruntime", "device": "x", "versions": {"onnxruntime": "0.1"}, "details": {}}
    header = {"format": "hwbench-kernels", "schema": 1, "created": "", "target": other, "host": {}}
    (tmp_path / "other.jsonl").write_text(json.dumps(header) + "\n", encoding="utf-8")
    header["target"] = other | {"backend": "tvm"}
    (tmp_path / "tvm.jsonl").write_text(json.dumps(header) + "\n", encoding="utf-8")
    newer = onnx.load(str(tmp_path / "tiny.onnx"))
    newer.ir_version = 99
    onnx.save(newer, str(tmp_path / "newer.onnx"))
    assert profile.main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_a_table_of_another_runtime_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"backend": "onnxruntime", "device": "x", "versions": {"onnxruntime": "0.1"}, "details": {}}
    header = {"format": "hwbench-kernels", "schema": 1, "created": "", "target": other, "host": {}}
    lut = tmp_path / "other.jsonl"
    for backend, said in (
        ("onnxruntime", "onnxruntime 0.1, and here is onnxruntime"),
        ("tvm", "table of tvm"),
    ):
        lut.write_text(json.dumps(header | {"target": other | {"backend": backend}}) + "\n", encoding="utf-8")
        assert predict.main(["--onnx", str(model(tmp_path / "tiny.onnx")), "--lut", str(lut)]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1


def test_in_python_a_path_gives_a_profile(tmp_path: Path) -> None:
    found = hwbench.profile(model(tmp_path / "open.onnx", shape=("n", 8, 10, 10)), batch=2)
    assert found.latency_ms > 0 and found.shares[0].total_ms >= found.shares[-1].total_ms
    assert any("2x8x10x10" in str(kernel) for kernel in found.kernels)


def test_in_python_a_model_in_memory_gives_a_profile_and_stays_as_it_is(tmp_path: Path) -> None:
    given = onnx.load(str(model(tmp_path / "open.onnx", shape=("n", 8, 10, 10))))
    before = given.SerializeToString()
    assert hwbench.profile(given, batch=2).model == "tiny"
    assert given.SerializeToString() == before


def test_a_torch_module_is_exported() -> None:
    import torch

    pytest.importorskip("onnxscript", reason="torch exports with onnxscript: pip install 'hwbench[networks]'")
    module = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU())
    assert hwbench.profile(module, (torch.ones(2, 6),)).latency_ms > 0


def test_a_module_without_an_example_is_refused() -> None:
    import torch

    from compofa.errors import InputError

    with pytest.raises(InputError, match="example"):
        hwbench.profile(torch.nn.Linear(2, 2))


# --- predicting and collecting ---


def test_collected_kernels_predict_a_model_that_was_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lut = tmp_path / "k.jsonl"
    models = [str(model(tmp_path / f"{width}.onnx", width)) for width in range(8, 104, 8)]
    assert collect.main([*models, "--budget", "45", "--out", str(lut), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["networks"] == 12 and 20 <= summary["kernels"] <= 45
    kept = load(lut)
    assert len(kept.entries) == summary["kernels"] and len(kept.networks) == 12 and kept.unmeasured
    other = model(tmp_path / "other.onnx", width=36)
    assert predict.main(["--onnx", str(other), "--lut", str(lut), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["origin"] == "predicted" and found["calibrated_on_networks"] == 12
    assert found["low_ms"] < found["latency_ms"] < found["high_ms"] and 0 <= found["known_share"] < 1
    assert {kernel["origin"] for kernel in found["kernels"]} >= {"predicted"}
    assert predict.main(["--onnx", str(other), "--lut", str(lut)]) == 0
    assert "ms predicted" in capsys.readouterr().out


def test_the_shipped_table_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hwbench import shipped

    table = load(shipped.kernels())
    assert len(table.entries) >= 500 and len(table.networks) >= 50
    path = model(tmp_path / "tiny.onnx", width=64)
    assert predict.main(["--onnx", str(path), "--force"]) == 0
    assert "ms predicted" in capsys.readouterr().out


def test_without_what_to_predict_nothing_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main([]) == 2
    assert "give --model and --subnets, or --onnx" in capsys.readouterr().err
    assert predict.main(["--onnx", "x", "--model", "y"]) == 2


def test_shares_and_groups() -> None:
    from backends.base import Target
    from backends.kernels.kernel import Kernel
    from hwbench.profiling.profiles import Ceilings, Node, Profile

    one = Kernel.from_dict(
        {"op": "Relu", "since": 1, "inputs": ["float32 1000"], "outputs": ["float32 1000"]}
    )
    other = Kernel.from_dict({"op": "Exp", "since": 1, "inputs": ["float32 10"], "outputs": ["float32 10"]})
    times = {one: Measurement("measured", 1.0, 1.0, 1.0), other: Measurement("measured", 2.0, 2.0, 2.0)}
    nodes = (
        Node("a", "block.0.act", "Relu", one, 1.0),
        Node("b", "block.1.act", "Relu", one, 1.0),
        Node("c", "head", "Exp", other, 2.0),
        Node("d", "head", "Loop", None, None, "control flow"),
    )
    whole = Measurement("measured", 5.0, 4.9, 5.1)
    found = Profile("m", Target("x", "y"), "fp32", whole, whole, nodes, times, {}, Ceilings(1.0, 1.0, 1.0))
    assert found.sum_ms == 4.0 and found.unexplained_ms == 1.0
    assert [(g.name, g.nodes, g.share) for g in found.by_operator()] == [
        ("Relu", 2, 0.5),
        ("Exp", 1, 0.5),
        ("Loop", 1, 0.0),
    ]
    assert [(g.name, g.total_ms) for g in found.by_layer(depth=1)] == [("block", 2.0), ("head", 2.0)]
    share = next(s for s in found.shares if s.kernel == one)
    assert share.layers == ("block.0.act", "block.1.act") and share.gb_s == pytest.approx(8e-3)
    assert share.of_roof(found.ceilings) == pytest.approx(8e-3)
