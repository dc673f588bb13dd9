"""The test accuracy of subnets in int8, as ONNX Runtime computes them.

A subnet is cut out of its supernet, recalibrated and exported as for any deployment, quantised with training images
(:mod:`backends.onnxruntime_int8`), and run on every test image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.onnxruntime_cpu import open_session
from backends.onnxruntime_int8 import quantised
from compofa.export import export_onnx
from compofa.network import arch_blocks

if TYPE_CHECKING:
    import onnx

    from compofa.data.base import ImageData
    from compofa.evaluate import Evaluator
    from compofa.spaces.arch import Arch

BATCH = 64
"""Images in one run; what an image comes to does not depend on it."""


def quantised_subnet(evaluator: Evaluator, arch: Arch, batch: int = 1) -> onnx.ModelProto:
    """A subnet as an int8 ONNX model, (batch, channels, side, side) -> (batch, classes), float32 at both ends.

    Args:
        evaluator: of its supernet; activations get their ranges from the images that it recalibrates BN with.
        arch: which.
        batch: images in one run.
    """
    network, blocks = evaluator.network(arch), arch_blocks(evaluator.supernet.family, arch)
    model = export_onnx(network, blocks, batch)  # type: ignore[arg-type]
    images = _batches(evaluator.train, evaluator.calibration, arch.resolution, batch)
    return quantised(model, ({"x": x} for x, _ in images))


def correct_in_int8(evaluator: Evaluator, arch: Arch) -> int:
    """Test images that the subnet classifies right in int8."""
    model = quantised_subnet(evaluator, arch, BATCH)
    session = open_session(model.SerializeToString(), threads=1)
    count = 0
    for x, labels in _batches(evaluator.test, np.arange(len(evaluator.test)), arch.resolution, BATCH):
        (logits,) = session.run(None, {"x": x})
        count += int((logits[: len(labels)].argmax(axis=1) == labels).sum())
    return count


def _batches(data: ImageData, indices: Any, resolution: int, size: int) -> Iterator[tuple[Any, Any]]:
    """Images, the last batch filled up with its first ones, and the labels of those that count."""
    for start in range(0, len(indices), size):
        x, y = data.batch(indices[start : start + size], resolution)
        filled = np.resize(np.arange(len(y)), size)
        yield np.ascontiguousarray(x.numpy()[filled]), y.numpy()
