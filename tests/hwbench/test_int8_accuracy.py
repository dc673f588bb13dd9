"""Subnets in int8 classify nearly what they do in fp32; the ranges come from training images."""

from __future__ import annotations

import numpy as np
import pytest

from backends.onnxruntime_cpu import open_session
from compofa.data.base import ImageData
from compofa.data.part import Part
from compofa.evaluate import Evaluator
from compofa.opened import open_with_data
from compofa.spaces.arch import Arch
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
