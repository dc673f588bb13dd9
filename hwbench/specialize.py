"""``hwbench specialize``: cut a subnet out of a supernet, measure it, and export it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from compofa.errors import InputError
from hwbench import cli
from hwbench.search import (
    add_cost_arguments,
    add_force_argument,
    add_latency_arguments,
    add_promise_arguments,
    read_costs,
)
from hwbench.specializing import RECHECKED, TRIES


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
    add_latency_arguments(p)
    add_promise_arguments(p, RECHECKED)
    p.add_argument(
        "--tries",
        type=cli.positive_int,
        default=TRIES,
        metavar="N",
        help="with --confidence: measure so many subnets at most, for the most accurate one whose own measurement "
        "promises the limit (default: %(default)s)",
    )
    add_cost_arguments(p)
    p.add_argument(
        "--accuracy",
        type=Path,
        metavar="FILE",
        help="accuracies to search by, of this supernet (default: the shipped ones, of a shipped supernet)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the search and the measuring")
    p.add_argument(
        "--data",
        help="glyphs, digits, imagefolder:PATH or webdataset:PATTERN: calibrates and tests (default: what the supernet"
        " was trained on)",
    )
    p.add_argument(
        "--precision",
        choices=("fp32", "int8"),
        default="fp32",
        help="int8: the exported model is quantised with training images, and its accuracy is measured in int8 "
        "(default: %(default)s)",
    )
    p.add_argument("--no-latency", action="store_true", help="do not measure the latency on this machine")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for what is exported")
    p.add_argument("--json", action="store_true", help="print the model card as JSON")
    add_force_argument(p)
    p.excludes("--arch", "--confidence", "--accuracy", "--max-macs", "--max-params", "--max-memory-mb")
    p.enables("--confidence", "--recheck", "--tries")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Choose, extract, recalibrate, test, export, measure, and say so on the card."""
    from hwbench.specializing.card import card_text, limit_text
    from hwbench.specializing.run import specialize

    if bool(args.arch) == bool(args.latency_ms):
        raise InputError("give either --arch ARCH or --latency-ms L")
    if len(args.latency_ms) > 1 or len(args.lut or ()) + len(args.model or ()) > 1:
        raise InputError("one subnet for one target: give --latency-ms, and --lut or --model, once")
    made = specialize(
        args.supernet,
        args.out,
        arch=args.arch,
        latency_ms=args.latency_ms[0][1] if args.latency_ms else None,
        cost=read_costs(args),
        confidence=args.confidence,
        recheck=RECHECKED if args.recheck is None else args.recheck,
        tries=args.tries,
        space=args.space,
        family=args.family,
        accuracy=args.accuracy,
        max_macs=args.max_macs,
        max_params=args.max_params,
        max_memory_mb=args.max_memory_mb,
        data=args.data,
        precision=args.precision,
        measure=not args.no_latency,
        seed=args.seed,
        force=args.force,
    )
    if args.json:
        cli.emit_json(made.card)
    else:
        print(card_text(made.card))
        print(f"in {args.out}: " + ", ".join(sorted(path.name for path in args.out.iterdir())))
    if made.met is False:
        cli.note(f"the limit is missed: {limit_text(made.card['limit'])}")
    return cli.OK


if __name__ == "__main__":
    sys.exit(main())
