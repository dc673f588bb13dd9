"""``hwbench pareto``: draw and compare accuracy-latency frontiers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compofa.errors import InputError
from hwbench import cli
from hwbench.search import add_force_argument, named_file, read_cost


def device_file(text: str) -> tuple[str, Path]:
    """An argparse type: ``FILE`` or ``NAME=FILE``; the name is empty unless given."""
    name, path = named_file(text)
    return ("" if Path(text) == path else name), path


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("pareto")
    p.add_argument(
        "--space",
        action="append",
        metavar="SPACE",
        help="ofa, compofa or compofa-elastic; repeat it to compare (default: compofa and ofa)",
    )
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose subnets")
    latencies = p.add_mutually_exclusive_group()
    latencies.add_argument(
        "--model", type=Path, metavar="FILE", help="latencies by a model of whole subnets that fit wrote"
    )
    latencies.add_argument(
        "--lut",
        action="append",
        type=device_file,
        metavar="[NAME=]FILE",
        help="latencies; calibrated if validate was run on it; repeat it for several devices in one picture (default: "
        "the best table of the family here, or the shipped one)",
    )
    p.add_argument(
        "--accuracy",
        action="append",
        type=Path,
        metavar="FILE",
        help="accuracies, measured (also a CSV) or a predictor, one file for all spaces or one for each (default: the "
        "shipped ones)",
    )
    p.add_argument(
        "--x",
        choices=("latency", "energy", "macs", "params", "memory"),
        default="latency",
        help="what accuracy is drawn against; macs, params and memory need no table",
    )
    p.add_argument(
        "--networks",
        type=Path,
        metavar="FILE",
        help="networks to show beside the frontiers: JSON lines of subnets, or of OFA's net.config, each with name and "
        "accuracy or top1_pct",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the predicted random subnets")
    p.add_argument("--out", type=Path, metavar="PICTURE", help="png, svg or pdf")
    p.add_argument("--csv", type=Path, metavar="FILE", help="every subnet, with its latency and accuracy")
    p.add_argument("--json", action="store_true", help="print frontiers and hypervolumes as JSON")
    add_force_argument(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Join, compare, draw."""
    for path, suffixes in ((args.out, cli.PICTURE_SUFFIXES), (args.csv, ())):
        if path:
            cli.check_writable(path, suffixes)
    from hwbench.frontiers.compare import pareto
    from hwbench.frontiers.device_picture import check_markers
    from hwbench.frontiers.document import write_csv

    if args.out:
        check_markers(len(args.lut or ()))
    result = pareto(
        read_given(args),
        spaces=args.space or ("compofa", "ofa"),
        family=args.family,
        accuracy=args.accuracy,
        networks=args.networks,
        seed=args.seed,
        force=args.force,
    )
    document = result.to_dict()
    if args.csv:
        write_csv(args.csv, result.cost.name, result.rows())
    if args.out:
        result.draw(args.out)
        document["picture"] = str(args.out)
    if args.json:
        cli.emit_json(document)
        return cli.OK
    for one in document.get("devices", [document]):
        print_summary(one, result.cost.label, result.cost.unit)
    if args.out:
        print(f"picture  {args.out}")
    return cli.OK


def read_given(args: argparse.Namespace) -> object:
    """The one cost that `args` name, or several, by name, or by number where they have none.

    Raises:
        InputError: a file is given and not needed, or two have one name.
    """
    from hwbench.inputs.costs import open_energy

    if len(args.lut or ()) < 2 or args.x not in ("latency", "energy"):
        return read_cost(args, args.x)
    found: dict[str | int, object] = {}
    for number, (name, path) in enumerate(args.lut):
        if name in found:
            raise InputError(f"two devices are called {name!r}: give each a name of its own")
        found[name or number] = path if args.x == "latency" else open_energy(path, None, args.force)
    return found


def _columns(document: dict[str, Any]) -> str:
    """What the numbers of subnets are of."""
    return " or ".join(dict.fromkeys(space["accuracy_is"] for space in document["spaces"]))


def print_summary(document: dict[str, Any], label: str, unit: str) -> None:
    """Print for people what was found; `label` and `unit` are of the cost."""
    name = document["cost"]
    reference = document["reference_point"]
    if "name" in document:
        print(f"device   {document['name']}")
    print(f"target   {document['target']}")
    if "latency" in document:
        print(f"latency  {document['latency']} ({document.get('lut') or document.get('model')})")
    else:
        print(f"cost     {document['quantity']}, {document['provenance']}")
    rows = []
    for space in document["spaces"]:
        frontier = space["frontier"]
        rows.append(
            (
                space["space"],
                space["supernet"].removeprefix(document["family"] + "-"),
                f"{space['subnets_' + space['accuracy_is']]:,}" + (" (all)" if space["enumerated"] else ""),
                str(len(frontier)),
                f"{frontier[0][name]:.3f} - {frontier[-1][name]:.3f}",
                f"{100 * frontier[0]['accuracy']:.1f} - {100 * frontier[-1]['accuracy']:.1f}",
                f"{space['hypervolume']:.5f}",
            )
        )
    cli.print_table(
        f"frontiers; hypervolume in {unit} x accuracy from ({reference[name]:.3f} {unit}, "
        f"{100 * reference['accuracy']:.1f} %)",
        ("space", "supernet", _columns(document), "frontier", label, "accuracy (%)", "hypervolume"),
        rows,
    )
    for words in dict.fromkeys(space["accuracy_words"] for space in document["spaces"]):
        if words:
            print(f"accuracy {words}")
    if document["networks"]:
        cli.print_table(
            "networks beside them, accuracies as stated",
            ("network", label, "accuracy (%)"),
            [
                (network["name"], f"{network[name]:.4g}", f"{100 * network['accuracy']:.1f}")
                for network in document["networks"]
            ],
        )


if __name__ == "__main__":
    sys.exit(main())
