"""``hwbench specialize``: cut a subnet out of a supernet, measure it, and export it."""

from __future__ import annotations

import argparse
import html
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from compofa.errors import InputError
from compofa.files import replacing_folder
from hwbench import cli, search
from hwbench.sources import insist, note_classes

if TYPE_CHECKING:
    from backends.base import Measurement, Network
    from compofa.opened import Opened
    from compofa.spaces.arch import Arch
    from compofa.supernet import Supernet
    from lut.model import LatencyModel

BATCH = 1
"""Images that the exported model takes at once."""
CHECKED_IMAGES = 16
"""Test images that the exported model must classify as torch does."""


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("specialize")
    p.add_argument(
        "--supernet",
        type=Path,
        required=True,
        metavar="FILE",
        help="written by hwbench train, or a published state dict",
    )
    p.add_argument("--family", type=cli.family, help="of a published state dict, such as imagenet-w1.0")
    p.add_argument(
        "--arch", metavar="ARCH", help="the subnet, as search and pareto print it; or give --latency-ms"
    )
    p.add_argument(
        "--space",
        help="ofa, compofa or compofa-elastic: what --arch must be in or is searched (default: compofa if a "
        "recipe whose name ends so trained the supernet, else ofa)",
    )
    search.add_latency_arguments(p)
    search.add_cost_arguments(p)
    p.add_argument(
        "--accuracy",
        type=Path,
        metavar="FILE",
        help="accuracies to search by, of this supernet (default: the shipped ones, of a shipped supernet)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the search")
    p.add_argument(
        "--data",
        help="glyphs, digits or imagefolder:PATH: calibrates and tests (default: what the supernet was trained on)",
    )
    p.add_argument("--no-latency", action="store_true", help="do not measure the latency on this machine")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for what is exported")
    p.add_argument("--json", action="store_true", help="print the model card as JSON")
    search.add_force_argument(p)
    p.excludes("--arch", "--accuracy")
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
    with replacing_folder(args.out) as folder:
        card = specialize(args, folder)
    if args.json:
        cli.emit_json(card)
    else:
        print(card_text(card))
        print(f"in {args.out}: " + ", ".join(sorted(path.name for path in args.out.iterdir())))
    if (limit := card["limit"]) and not limit["met"]:
        cli.note(f"the limit is missed: {_limit_text(limit)}")
    return cli.OK


def specialize(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write everything into `folder`; returns the card."""
    from compofa.opened import open_with_data

    opened = open_with_data(args.supernet, args.data, args.family)
    supernet, identity = opened.supernet, opened.identity
    arch, chosen = choose(args, supernet, identity.recipe or "", identity.sha256)
    model = find_model(args, supernet)
    exported = export(folder, opened, arch)
    latency = measure(args, supernet, arch, model)
    card = {
        "arch": str(arch),
        "family": supernet.family.name,
        "chosen": chosen,
        "supernet": {"recipe": identity.recipe, "sha256": identity.sha256},
        **exported,
        "latency": latency,
        "limit": limit_of(chosen, latency),
        "versions": versions(),
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card_text(card), encoding="utf-8")
    return card


def check_folder(path: Path) -> None:
    """Raise InputError unless `path` is an empty folder, or nothing yet, where a folder can be made."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is not an empty folder: choose another --out")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise InputError(f"cannot write {path}: {parent} is no folder that can be written to")


# --- which subnet ---


def choose(
    args: argparse.Namespace, supernet: Supernet, recipe: str, sha256: str
) -> tuple[Arch, dict[str, Any] | None]:
    """The subnet, and what the search said of it unless it was given. The recipe that trained the supernet
    says which subnets it trained, the hash of its file whose accuracies are asked for.

    Raises:
        InvalidArch: the given one is not in the space.
        Infeasible: no subnet is as fast.
        InputError: there are no accuracies of this supernet.
    """
    from compofa.spaces.arch import Arch
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space
    from hwbench import shipped

    args.space = args.space or ("compofa" if recipe.rpartition("-")[2] == "compofa" else "ofa")
    space = get_space(args.space, get_family(supernet.family.name))
    if args.arch:
        arch = Arch.parse(args.arch)
        space.check(arch)
        return arch, None
    args.family = supernet.family.name
    if not args.accuracy:
        try:
            args.accuracy = shipped.accuracies_of(args.family, sha256)
        except InputError as error:
            advice = search.MEASURE_ITS_OWN.replace("SPACE", args.space).replace("FILE", str(args.supernet))
            raise InputError(f"{error}: {advice}") from None
    document = search.describe(search.run_search(args, sha256))
    result = document["results"][0]
    names = ("method", "accuracy", "accuracy_is", "accuracy_mae")
    return Arch.parse(result["arch"]), {
        "constraint_ms": result["constraint"],
        "target": document["targets"][next(iter(document["targets"]))]["device"],
        "predicted_latency_ms": result["latency_ms"],
        "expected_accuracy": result["accuracy"],
        **{name: document[name] for name in names},
    }


def find_model(args: argparse.Namespace, supernet: Supernet) -> LatencyModel | None:
    """The latency model to predict with; None if none was given and there is none for the family."""
    try:
        targets = search.load_targets(args.lut, args.model, supernet.family.name, args.force)
    except ValueError as error:
        if args.lut or args.model:
            raise
        cli.note(f"no predicted latency: {error}")
        return None
    model = cast("LatencyModel", next(iter(targets.models.values())))
    if args.arch:  # a search says so itself
        note_classes(model, supernet.family.classes)
    if model.target.batch != BATCH:
        path = next(iter(targets.files.values()))
        insist(
            f"{path} is a table of batch {model.target.batch}, the exported model takes batch {BATCH}: give a table of "
            f"batch {BATCH}",
            args.force,
        )
    return model


# --- the subnet's files ---


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


def measure(
    args: argparse.Namespace, supernet: Supernet, arch: Arch, model: LatencyModel | None
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
    found = None if args.no_latency else _measure(args, blocks, model)
    return {"predicted": predicted, "measured": None, **({found["origin"]: found} if found else {})}


def _predict(model: LatencyModel, arch: Arch) -> float:
    from compofa.network import arch_blocks

    # With the classes of the family: the table knows no other classifier.
    return model.latency_ms(arch_blocks(model.family, arch))


def _measure(args: argparse.Namespace, blocks: Network, model: LatencyModel | None) -> dict[str, Any] | None:
    from backends import registry
    from backends.base import BackendUnavailable, Settings
    from hwbench.validate import open_backend
    from lut.store import target_differences

    target = model.target if model else None
    try:
        default = registry.load("onnxruntime")
        backend = open_backend(target, args.seed) if target else default(Settings(seed=args.seed))
    except (BackendUnavailable, ValueError) as error:
        cli.note(f"the latency is not measured: {error}")
        return None
    differences = target_differences(target, backend.target) if target else []
    if differences:
        cli.note(f"the table is of another target than this machine: {'; '.join(differences)}")
    found: Measurement = backend.network_latencies([blocks])[0]
    fields = {name: value for name, value in asdict(found).items() if name != "rounds_ms"}
    return {
        **fields,
        "target": backend.target.to_dict(),
        "is_the_tables_target": bool(target) and not differences,
    }


def limit_of(chosen: dict[str, Any] | None, latency: dict[str, Any]) -> dict[str, Any] | None:
    """Whether the latency that was asked for is kept, by what was measured, or modelled, on the table's target; None
    if none was asked for or nothing was measured there."""
    found = latency["measured"] or latency.get("modelled")
    if not chosen or not found or not found["is_the_tables_target"]:
        return None
    asked, took = chosen["constraint_ms"], found["latency_ms"]
    return {
        "asked_ms": asked,
        "latency_ms": took,
        "origin": found["origin"],
        "met": took <= asked,
        "excess_pct": 100 * (took / asked - 1),
    }


def _limit_text(limit: dict[str, Any]) -> str:
    what = f"asked for {limit['asked_ms']:g} ms, {limit['origin']} {limit['latency_ms']:.4g} ms"
    return f"met ({what})" if limit["met"] else f"MISSED by {limit['excess_pct']:.1f} % ({what})"


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
    for origin in ("predicted", "measured", "modelled"):
        if found := latency.get(origin):
            rows.append((f"latency, {origin}", _latency_text(found)))
    if limit := card["limit"]:
        rows.append(("limit", _limit_text(limit)))
    elif chosen and any(latency.get(origin) for origin in ("measured", "modelled")):
        rows.append(("limit", "not checked: the latency is not of the table's target"))
    rows += [
        ("ONNX against torch", f"largest difference {card['onnx_against_torch']:.1e} of the largest logit"),
        ("supernet", f"{card['supernet']['recipe']}, sha256 {card['supernet']['sha256'][:16]}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in card["versions"].items())),
    ]
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows]
    return "\n".join([f"# Subnet {card['arch']}", "", "| | |", "|---|---|", *lines, ""])


def _latency_text(found: dict[str, Any]) -> str:
    target = found["target"]
    how = f"; {found['provenance']}" if "provenance" in found else ""
    return (
        f"{found['latency_ms']:.4g} ms on {target['device']} ({target['backend']}, {target['precision']}, batch "
        f"{target['batch']}, threads {target['threads']}){how}"
    )


def _cell(text: str) -> str:
    """`text` in a cell of a Markdown table, as it is: signs of HTML and of tables show."""
    return " ".join(html.escape(text, quote=False).replace("|", "\\|").split())


if __name__ == "__main__":
    sys.exit(main())
