"""A subnet's files, and what it was measured to do."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwbench.telling import note

if TYPE_CHECKING:
    from backends.base import Measurement, Network
    from compofa.opened import Opened
    from compofa.spaces.arch import Arch
    from compofa.supernet import Supernet
    from lut.model import LatencyModel

CHECKED_IMAGES = 16
"""Test images that the exported model must classify as torch does."""


def export(folder: Path, opened: Opened, arch: Arch) -> dict[str, Any]:
    """Write ``model.onnx`` and ``weights.safetensors`` into `folder`; what the card says of the network."""
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
    }


def measured(
    supernet: Supernet, arch: Arch, model: LatencyModel | None, now: bool, seed: int
) -> dict[str, Any]:
    """Predicted and measured latency, each with its target; null what there is not. What a backend models stands
    under ``modelled``, by the number's own origin."""
    from compofa.network import arch_blocks

    blocks = arch_blocks(supernet.family, arch)
    predicted = model and {
        "latency_ms": _predict(model, arch),
        "calibrated": model.calibrated,
        "provenance": model.provenance,
        "blocks": model.table.origins,
        "target": model.target.to_dict(),
    }
    found = _measure(blocks, model, seed) if now else None
    return {"predicted": predicted, "measured": None, **({found["origin"]: found} if found else {})}


def _predict(model: LatencyModel, arch: Arch) -> float:
    from compofa.network import arch_blocks

    # With the classes of the family: the table knows no other classifier.
    return model.latency_ms(arch_blocks(model.family, arch))


def _measure(blocks: Network, model: LatencyModel | None, seed: int) -> dict[str, Any] | None:
    from backends import registry
    from backends.base import BackendUnavailable, Settings
    from hwbench.validating.measuring import open_backend
    from lut.header import target_differences

    target = model.target if model else None
    try:
        default = registry.load("onnxruntime")
        backend = open_backend(target, seed) if target else default(Settings(seed=seed))
    except (BackendUnavailable, ValueError) as error:
        note(f"the latency is not measured: {error}")
        return None
    differences = target_differences(target, backend.target) if target else []
    if differences:
        note(f"the table is of another target than this machine: {'; '.join(differences)}")
    found: Measurement = backend.network_latencies([blocks])[0]
    fields = {name: value for name, value in asdict(found).items() if name != "rounds_ms"}
    return {
        **fields,
        "target": backend.target.to_dict(),
        "is_the_tables_target": bool(target) and not differences,
    }


def versions() -> dict[str, str]:
    """Of the packages that made the files."""
    from backends.machine.host import package_versions

    return dict(package_versions(["hwbench", "onnx", "onnxruntime", "torch"]))
