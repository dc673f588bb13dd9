"""``hwbench pareto``: draw and compare accuracy-latency frontiers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwbench import cli
from hwbench.search import add_force_argument, read_cost


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
        type=Path,
        metavar="FILE",
        help="latencies; calibrated if validate was run on it (default: the newest table of the family, or "
        "the shipped one)",
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
    from hwbench.frontiers.document import write_csv

    result = pareto(
        read_cost(args, args.x),
        spaces=args.space or ("compofa", "ofa"),
        family=args.family,
        accuracy=args.accuracy,
        networks=args.networks,
        seed=args.seed,
        force=args.force,
    )
    document = result.to_dict()
    if args.csv:
        write_csv(args.csv, result)
    if args.out:
        result.draw(args.out)
        document["picture"] = str(args.out)
    if args.json:
        cli.emit_json(document)
    else:
        print_summary(document, result.cost.label, result.cost.unit)
    return cli.OK


def _columns(document: dict[str, Any]) -> str:
    """What the numbers of subnets are of."""
    return " or ".join(dict.fromkeys(space["accuracy_is"] for space in document["spaces"]))


def print_summary(document: dict[str, Any], label: str, unit: str) -> None:
    """Print for people what was found; `label` and `unit` are of the cost."""
    name = document["cost"]
    reference = document["reference_point"]
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
    if document.get("picture"):
        print(f"picture  {document['picture']}")


if __name__ == "__main__":
    sys.exit(main())
