"""Subnets in int8 classify nearly what they do in fp32; the ranges come from training images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import evaluate

import hwbench
from backends.onnxruntime_cpu import open_session
from compofa.accuracy import Accuracies
from compofa.checkpoint import save_supernet
from compofa.data import load_data
from compofa.data.base import ImageData
from compofa.data.part import Part
from compofa.errors import InputError
from compofa.evaluate import Evaluator
from compofa.opened import open_with_data
from compofa.spaces.arch import Arch
from compofa.spaces.registry import GLYPHS
from compofa.supernet import Supernet
from hwbench import int8_accuracy, shipped
from hwbench.int8_accuracy import correct_in_int8, quantised_subnet

SMALL = Arch.parse("r16-k3e3_k3e3-k5e3_k5e3-k3e3_k3e3-k3e3_k3e3-k5e3_k5e3")
IMAGES = 150


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    """Of the shipped supernet, on few images: an odd number, so that a batch has to be filled up."""
    path = shipped.supernet("glyphs", shipped.recipe_of("compofa"))
    opened = open_with_data(path, None)
    test: ImageData = Part(opened.test, range(IMAGES))
    return Evaluator(opened.supernet, opened.train, test, calibration_images=64)


def test_little_accuracy_is_lost(evaluator: Evaluator) -> None:
    exact, rounded = evaluator.correct(SMALL), correct_in_int8(evaluator, SMALL)
    assert exact > IMAGES / 3
    assert abs(rounded - exact) < 0.06 * IMAGES


def test_ranges_come_from_training_images(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made of one dark image, ranges clip all others, and little is told apart."""
    good = correct_in_int8(evaluator, SMALL)
    real = int8_accuracy._batches

    def dark(data: ImageData, *rest: int) -> object:
        for x, y in real(data, *rest):  # type: ignore[arg-type]
            yield (x, y) if data is evaluator.test else (0.01 * x, y)

    monkeypatch.setattr(int8_accuracy, "_batches", dark)
    assert correct_in_int8(evaluator, SMALL) < 0.7 * good


def test_a_subnet_to_deploy_takes_one_image_and_computes_in_whole_numbers(evaluator: Evaluator) -> None:
    model = quantised_subnet(evaluator, SMALL)
    session = open_session(model.SerializeToString(), threads=1)
    (logits,) = session.run(None, {"x": np.zeros((1, 3, 16, 16), np.float32)})
    assert logits.shape == (1, 62)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet of digits, whose test images are few."""
    path = tmp_path_factory.mktemp("supernet") / "s.safetensors"
    torch.manual_seed(0)
    save_supernet(Supernet(replace(GLYPHS, classes=10)), path, {"recipe": {"name": "untrained"}})
    return path


def test_evaluate_measures_in_int8_and_says_so(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(int8_accuracy, "correct_in_int8", lambda evaluator, arch: asked.append(arch) or 123)
    archs, out = tmp_path / "archs.txt", tmp_path / "int8.jsonl"
    archs.write_text(f"{SMALL}\n")
    arguments = ["--supernet", str(untrained), "--data", "digits", "--archs", str(archs), "--out", str(out)]
    assert evaluate.main([*arguments, "--space", "ofa", "--precision", "int8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "int8"
    found = Accuracies.load(out)
    assert found.header.precision == "int8" and found.correct == {SMALL: 123} and asked == [SMALL]
    # What is measured in another precision does not go into the same file.
    assert evaluate.main([*arguments, "--space", "ofa", "--workers", "1"]) == 2
    assert "int8" in capsys.readouterr().err
    assert evaluate.main([*arguments, "--space", "ofa", "--precision", "int8", "--device", "cuda"]) in (2, 3)


def test_a_specialised_subnet_in_int8_runs_and_its_card_says_what_it_is(
    untrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = hwbench.specialize(
        untrained, out, arch=SMALL, space="ofa", data="digits", precision="int8", measure=False
    )
    how = made.card["quantisation"]
    assert made.card["precision"] == "int8" and "uint8 activations" in how["scheme"]
    assert how["calibration_images"] > 100 and "training images of digits" in how["calibration_data"]
    text = (out / "README.md").read_text()
    assert "accuracy in int8, measured" in text and "in fp32" in text
    session = open_session((out / "model.onnx").read_bytes(), threads=1)
    test = load_data("digits", "test")
    right = 0
    for i in range(len(test)):
        x, (label,) = test.batch([i], SMALL.resolution)
        right += int(session.run(None, {"x": x.numpy()})[0].argmax() == int(label))
    assert right / len(test) == pytest.approx(made.accuracy, abs=0.005)


def test_a_limit_in_int8_is_not_searched_in_a_table_of_fp32(untrained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the table is in fp32, the subnet in int8: give one in int8"):
        hwbench.specialize(
            untrained, tmp_path / "out", latency_ms=1.0, cost=hwbench.reference_table(), space="ofa", data="digits",
            precision="int8", measure=False, force=True,
        )  # fmt: skip
