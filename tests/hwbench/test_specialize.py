"""`hwbench specialize`, for real on digits with an untrained supernet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from commands import specialize
from safetensors.torch import load_file

from compofa.checkpoint import save_supernet
from compofa.data import load_data
from compofa.network import arch_blocks
from compofa.spaces.arch import Arch
from compofa.spaces.registry import GLYPHS
from compofa.supernet import Supernet
from compofa.supernet.static import build_network

ARCH = "r16-k3e3_k3e3-k5e3_k5e3-k3e3_k3e3-k3e3_k3e3-k5e4_k5e4_k5e4"


@pytest.fixture(autouse=True)
def no_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def supernet(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("supernet") / "s.safetensors"
    torch.manual_seed(0)
    save_supernet(Supernet(replace(GLYPHS, classes=10)), path, {"recipe": {"name": "untrained"}})
    return path


def test_a_subnet_becomes_files_that_agree(supernet: Path, built: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--supernet", str(supernet), "--arch", ARCH, "--space", "compofa", "--lut", str(built)]
    assert specialize.main([*arguments, "--data", "digits", "--out", str(out), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card == json.loads((out / "card.json").read_text())
    arch = Arch.parse(ARCH)
    blocks = arch_blocks(replace(GLYPHS, classes=10), arch)
    assert card["macs"] == sum(block.macs for block in blocks)
    assert card["latency"]["predicted"]["latency_ms"] > 0
    measured = card["latency"]["measured"]
    assert (
        measured["origin"] == "measured"
        and measured["low_ms"] <= measured["latency_ms"] <= measured["high_ms"]
    )

    network = build_network(blocks).eval()
    network.load_state_dict(load_file(out / "weights.safetensors"))
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    test = load_data("digits", "test")
    x, y = test.batch(range(len(test)), arch.resolution)
    with torch.no_grad():
        logits = network(x).numpy()
    onnx_logits = np.concatenate([session.run(None, {"x": one[None].numpy()})[0] for one in x.contiguous()])
    np.testing.assert_allclose(onnx_logits, logits, atol=1e-3 * np.abs(logits).max())
    assert (logits.argmax(1) == y.numpy()).mean() == pytest.approx(card["accuracy"]["measured"], abs=0.006)
    text = (out / "README.md").read_text()
    for words in (
        ARCH,
        "accuracy, measured",
        "latency, predicted",
        "latency, measured",
        "onnxruntime",
        "sha256",
    ):
        assert words in text, words


def test_without_a_table_or_a_clock(supernet: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--supernet", str(supernet), "--arch", ARCH, "--data", "digits", "--no-latency"]
    assert specialize.main([*arguments, "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["latency"]["measured"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --arch ARCH or --latency-ms L"),
        (["--arch", ARCH, "--latency-ms", "2"], "give either --arch ARCH or --latency-ms L"),
        (["--latency-ms", "2", "--latency-ms", "3"], "one subnet for one target"),
        (["--arch", "r17" + ARCH[3:]], "space ofa has the resolutions 16, 20"),
        (["--arch", "resnet"], "not a subnet: 'resnet'"),
        (
            ["--arch", ARCH.replace("k5e3", "k7e3"), "--space", "compofa"],
            "does not follow the rule of space compofa",
        ),
        (["--arch", ARCH, "--lut", "missing.jsonl"], "missing.jsonl: No such file"),
        (["--arch", ARCH, "--data", "mnist"], "unknown data 'mnist'"),
        (["--arch", ARCH, "--out", "{file}"], "is not an empty folder"),
    ],
)
def test_bad_input_is_one_line(supernet: Path, tmp_path: Path, capsys, arguments, message: str) -> None:
    (tmp_path / "file").write_text("x")
    given = [a.format(file=tmp_path / "file") for a in arguments]
    base = ["--supernet", str(supernet), "--no-latency"]
    base += [] if "--data" in given else ["--data", "digits"]
    base += [] if "--out" in given else ["--out", str(tmp_path / "out")]
    assert specialize.main([*base, *given]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in line


def test_what_is_no_supernet_is_refused(tmp_path: Path, capsys) -> None:
    (tmp_path / "x").write_text("hello")
    arguments = ["--supernet", str(tmp_path / "x"), "--arch", ARCH, "--out", str(tmp_path / "out")]
    assert specialize.main(arguments) == 2
    assert "not a supernet" in capsys.readouterr().err
