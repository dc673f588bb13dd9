"""``hwbench specialize``: cut a subnet out of a supernet, measure it, and export it."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from compofa.errors import InputError
from hwbench import cli, search

if TYPE_CHECKING:
    from backends.base import Measurement, Network
    from compofa.arch import Arch
    from compofa.supernet import Supernet
    from lut.model import LatencyModel

CHECKED_IMAGES = 16
"""Test images that the exported model must classify as torch does."""


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("specialize")
    p.add_argument("--supernet", type=Path, required=True, metavar="CKPT", help="written by hwbench train")
    p.add_argument(
        "--arch", metavar="ARCH", help="the subnet, as search and pareto print it; or give --latency-ms"
    )
    p.add_argument(
        "--space",
        help="ofa, compofa or compofa-elastic: what --arch must be in or is searched (default: compofa if a "
        "recipe of that name trained the supernet, else ofa)",
    )
    search.add_latency_arguments(p)
    p.add_argument(
        "--accuracy",
        type=Path,
        metavar="FILE",
        help="accuracies to search by (default: the shipped ones of a supernet of that recipe)",
    )
    p.add_argument("--seed", type=int, default=0, help="of the search")
    p.add_argument(
        "--data", default="glyphs", help="glyphs, digits or imagefolder:PATH: calibrates and tests"
    )
    p.add_argument("--no-latency", action="store_true", help="do not measure the latency on this machine")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for what is exported")
    p.add_argument("--json", action="store_true", help="print the model card as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Choose, extract, recalibrate, test, export, measure, and say so on the card."""
    if bool(args.arch) == bool(args.latency_ms):
        raise InputError("give either --arch ARCH or --latency-ms L")
    if len(args.latency_ms) > 1 or len(args.lut or ()) + len(args.model or ()) > 1:
        raise InputError("one subnet for one target: give --latency-ms, and --lut or --model, once")
    if fitted := [path for _, path in args.model or () if not path.name.endswith(search.CALIBRATION)]:
        raise InputError(
            f"{fitted[0]} is no calibration: specialize measures on a table's target; give its file"
        )
    check_folder(args.out)
    from compofa.checkpoint import load_supernet

    supernet, provenance = load_supernet(args.supernet)
    arch, chosen = choose(args, supernet, (provenance.get("recipe") or {}).get("name") or "")
    model = find_model(args, supernet)
    card = {
        "arch": str(arch),
        "family": supernet.family.name,
        "chosen": chosen,
        "supernet": {
            "recipe": (provenance.get("recipe") or {}).get("name"),
            "sha256": hashlib.sha256(args.supernet.read_bytes()).hexdigest(),
        },
        **export(args, supernet, arch),
        "latency": measure(args, supernet, arch, model),
        "versions": versions(),
    }
    (args.out / "card.json").write_text(json.dumps(card, indent=2, allow_nan=False) + "\n")
    (args.out / "README.md").write_text(card_text(card))
    if args.json:
        cli.emit_json(card)
    else:
        print(card_text(card))
        print(f"in {args.out}: " + ", ".join(sorted(path.name for path in args.out.iterdir())))
    return cli.OK


def check_folder(path: Path) -> None:
    """Make the folder, which must be empty or absent.

    Raises:
        ValueError: it holds something, or is a file.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is not an empty folder: choose another --out")
    path.mkdir(parents=True, exist_ok=True)


# --- which subnet ---


def choose(args: argparse.Namespace, supernet: Supernet, recipe: str) -> tuple[Arch, dict[str, Any] | None]:
    """The subnet, and what the search said of it unless it was given. The recipe that trained the supernet
    says which subnets it trained, and whose accuracies these are.

    Raises:
        InvalidArch: the given one is not in the space.
        Infeasible: no subnet is as fast.
    """
    from compofa.arch import Arch
    from compofa.families import get_family
    from compofa.spaces import get_space
    from hwbench import shipped

    trained = "compofa" if "compofa" in recipe else "ofa"
    args.space = args.space or trained
    space = get_space(args.space, get_family(supernet.family.name))
    if args.arch:
        arch = Arch.parse(args.arch)
        space.check(arch)
        return arch, None
    args.family = supernet.family.name
    args.accuracy = args.accuracy or shipped.accuracies(args.family, trained)
    document = search.describe(search.run_search(args))
    result = document["results"][0]
    names = ("method", "accuracy", "accuracy_is", "accuracy_mae")
    return Arch.parse(result["arch"]), {
        "constraint_ms": result["constraint"],
        "predicted_latency_ms": result["latency_ms"],
        "expected_accuracy": result["accuracy"],
        **{name: document[name] for name in names},
    }


def find_model(args: argparse.Namespace, supernet: Supernet) -> LatencyModel | None:
    """The latency model to predict with; None if none was given and there is none for the family."""
    try:
        targets = search.load_targets(args.lut, args.model, supernet.family.name)
    except ValueError as error:
        if args.lut or args.model:
            raise
        cli.note(f"no predicted latency: {error}")
        return None
    return cast("LatencyModel", next(iter(targets.models.values())))


# --- the subnet's files ---


def export(args: argparse.Namespace, supernet: Supernet, arch: Arch) -> dict[str, Any]:
    """Write ``model.onnx`` and ``weights.safetensors``; what the card says of the network."""
    import onnx
    from safetensors.torch import save_file

    from compofa.arch import arch_blocks
    from compofa.blocks import total_macs, total_params
    from compofa.data import load_data
    from compofa.evaluate import CALIBRATION_IMAGES, Evaluator
    from compofa.export import check_onnx, export_onnx

    train, test = load_data(args.data, "train"), load_data(args.data, "test")
    if test.classes != supernet.family.classes:
        raise InputError(
            f"{args.supernet} tells {supernet.family.classes} classes apart, {args.data} has {test.classes}"
        )
    evaluator = Evaluator(supernet, train, test)
    network = evaluator.network(arch)
    correct = evaluator.correct(arch)
    blocks = arch_blocks(supernet.family, arch)
    model = export_onnx(network, blocks)  # type: ignore[arg-type]
    images = (test.batch([i], arch.resolution)[0] for i in range(min(CHECKED_IMAGES, len(test))))
    difference = check_onnx(model, network, images)
    onnx.save(model, args.out / "model.onnx")
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, args.out / "weights.safetensors", metadata={"arch": str(arch)})
    accuracy = correct / len(test)
    return {
        "input": [1, supernet.family.in_channels, arch.resolution, arch.resolution],
        "classes": supernet.family.classes,
        "macs": total_macs(blocks),
        "params": total_params(blocks),
        "accuracy": {
            "measured": accuracy,
            "standard_error": math.sqrt(accuracy * (1 - accuracy) / len(test)),
            "images": len(test),
            "data": test.name,
            "bn_calibration_images": CALIBRATION_IMAGES,
        },
        "onnx_against_torch": difference,
    }


def measure(
    args: argparse.Namespace, supernet: Supernet, arch: Arch, model: LatencyModel | None
) -> dict[str, Any]:
    """Predicted and measured latency, each with its target; null what there is not."""
    from compofa.arch import arch_blocks

    blocks = arch_blocks(supernet.family, arch)
    predicted = model and {
        "latency_ms": _predict(model, arch),
        "calibrated": model.calibrated,
        "blocks": model.table.origins,
        "target": model.target.to_dict(),
    }
    return {
        "predicted": predicted,
        "measured": None if args.no_latency else _measure(args, blocks, model),
    }


def _predict(model: LatencyModel, arch: Arch) -> float:
    from compofa.arch import arch_blocks

    # With the classes of the family: the table knows no other classifier.
    return model.latency_ms(arch_blocks(model.family, arch))


def _measure(args: argparse.Namespace, blocks: Network, model: LatencyModel | None) -> dict[str, Any] | None:
    from backends import registry
    from backends.base import BackendUnavailable, Settings
    from lut.store import target_differences

    target = model.target if model else None
    settings = Settings(target.precision, target.batch, target.threads, args.seed) if target else Settings()
    try:
        backend = registry.load(target.backend if target else "onnxruntime")(settings)
    except (BackendUnavailable, ValueError) as error:
        cli.note(f"the latency is not measured: {error}")
        return None
    if target and (differences := target_differences(target, backend.target)):
        cli.note(f"the table is of another target than this machine: {'; '.join(differences)}")
    found: Measurement = backend.network_latencies([blocks])[0]
    fields = {name: value for name, value in asdict(found).items() if name != "rounds_ms"}
    return {**fields, "target": backend.target.to_dict()}


def versions() -> dict[str, str]:
    """Of the packages that made the files."""
    from backends.machine.host import package_versions

    return dict(package_versions(["hwbench", "onnx", "onnxruntime", "torch"]))


# --- the card ---


def card_text(card: dict[str, Any]) -> str:
    """The model card for people, Markdown."""
    accuracy, latency, chosen = card["accuracy"], card["latency"], card["chosen"]
    rows = [
        ("architecture", f"`{card['arch']}` ({card['family']})"),
        ("input", " x ".join(map(str, card["input"]))),
        ("size", f"{card['macs'] / 1e6:.2f} M MACs, {card['params'] / 1e6:.3f} M parameters"),
        (
            "accuracy, measured",
            f"{100 * accuracy['measured']:.2f} % (standard error {100 * accuracy['standard_error']:.2f}) on "
            f"{accuracy['images']:,} images of {accuracy['data']}",
        ),
    ]
    if chosen:
        rows.append(
            (
                f"accuracy, {chosen['accuracy_is']} before",
                f"{100 * chosen['expected_accuracy']:.2f} %, asked for within {chosen['constraint_ms']:g} ms",
            )
        )
    for origin in ("predicted", "measured"):
        if found := latency[origin]:
            target = found["target"]
            rows.append(
                (
                    f"latency, {origin}",
                    f"{found['latency_ms']:.4g} ms on {target['device']} ({target['backend']}, {target['precision']}, "
                    f"batch {target['batch']}, threads {target['threads']})",
                )
            )
    rows += [
        ("ONNX against torch", f"largest difference {card['onnx_against_torch']:.1e} of the largest logit"),
        ("supernet", f"{card['supernet']['recipe']}, sha256 {card['supernet']['sha256'][:16]}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in card["versions"].items())),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join([f"# Subnet {card['arch']}", "", "| | |", "|---|---|", *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
