"""A subnet's files, and what the card says of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

    from compofa.evaluate import Evaluator
    from compofa.opened import Opened
    from compofa.spaces.arch import Arch
    from lut.model import LatencyModel

CHECKED_IMAGES = 16
"""Test images that the exported model must classify as torch does."""


def export(folder: Path, opened: Opened, arch: Arch, precision: str = "fp32") -> dict[str, Any]:
    """Write ``model.onnx``, in `precision`, and ``weights.safetensors`` into `folder`; what the card says of the
    network."""
    import onnx
    from safetensors.torch import save_file

    from compofa.blocks import total_macs, total_params
    from compofa.evaluate import Evaluator
    from compofa.export import check_onnx, export_onnx
    from compofa.network import arch_blocks

    supernet, test = opened.supernet, opened.test
    evaluator = Evaluator(supernet, opened.train, test)
    network = evaluator.network(arch)
    correct = evaluator.correct(arch)
    blocks = arch_blocks(supernet.family, arch)
    model = export_onnx(network, blocks)  # type: ignore[arg-type]
    images = (test.batch([i], arch.resolution)[0] for i in range(min(CHECKED_IMAGES, len(test))))
    difference = check_onnx(model, network, images)
    quantisation = None
    if precision == "int8":
        model, correct, quantisation = _in_int8(evaluator, arch, correct)
    onnx.save(model, folder / "model.onnx")
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / "weights.safetensors", metadata={"arch": str(arch)})
    accuracy = correct / len(test)
    return {
        "input": [1, supernet.family.in_channels, arch.resolution, arch.resolution],
        "classes": supernet.family.classes,
        "class_names": list(test.class_names),
        "macs": total_macs(blocks),
        "params": total_params(blocks),
        "accuracy": {
            "measured": accuracy,
            "standard_error": math.sqrt(accuracy * (1 - accuracy) / len(test)),
            "images": len(test),
            "data": test.name,
            "bn_calibration_images": len(evaluator.calibration),
        },
        "onnx_against_torch": difference,
        "quantisation": quantisation,
    }


def _in_int8(evaluator: Evaluator, arch: Arch, correct: int) -> tuple[onnx.ModelProto, int, dict[str, Any]]:
    """The quantised model, the test images that it classifies right, and how it was made.

    Args:
        evaluator: of the supernet.
        arch: the subnet.
        correct: test images that it classifies right in fp32.
    """
    from backends.onnxruntime_int8 import QUANTIZATION
    from hwbench.int8_accuracy import correct_in_int8, quantised_subnet

    how = {
        "scheme": QUANTIZATION,
        "calibration_images": len(evaluator.calibration),
        "calibration_data": f"training images of {evaluator.train.name}",
        "accuracy_in_fp32": correct / len(evaluator.test),
    }
    return quantised_subnet(evaluator, arch), correct_in_int8(evaluator, arch), how


def predicted(model: LatencyModel, arch: Arch) -> dict[str, Any]:
    """What a model predicts for a subnet, JSON-ready."""
    from compofa.network import arch_blocks

    return {
        # With the classes of the family: the table knows no other classifier.
        "latency_ms": model.latency_ms(arch_blocks(model.family, arch)),
        "calibrated": model.calibrated,
        "provenance": model.provenance,
        "blocks": model.table.origins,
        "target": model.target.to_dict(),
    }


def versions() -> dict[str, str]:
    """Of the packages that made the files."""
    from backends.machine.host import package_versions

    return dict(package_versions(["hwbench", "onnx", "onnxruntime", "torch"]))
