"""``hwbench build_lut``: measure the blocks of a space into a lookup table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwbench import cli
from hwbench.backend_arguments import BackendParser, add_backend_arguments, options_of


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("build_lut", BackendParser)
    add_backend_arguments(p)
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose blocks")
    p.add_argument(
        "--classes",
        type=cli.positive_int,
        metavar="N",
        help="of the classifier, where a supernet of the family has others (default: the family's)",
    )
    p.add_argument("--space", default="ofa", help="only blocks that this space can use")
    p.add_argument(
        "--resolutions", type=cli.resolutions, help="128,160 or 128:224:32, in pixels (default: the family's)"
    )
    p.add_argument(
        "--budget",
        type=cli.positive_int,
        metavar="N",
        help="measure only the N blocks that tell most, and predict the others from them (default: measure all)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the order and the weights")
    p.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="table to begin or to go on with (default: in $HWBENCH_HOME/tables or ~/.cache/hwbench/tables, "
        "named after the family and the target)",
    )
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Build or finish the table that `args` describe; failed if some block cannot be run."""
    from hwbench.building import build_table
    from lut.trust import doubts

    if args.out:
        cli.check_writable(args.out)
    built = build_table(
        args.backend,
        family=args.family,
        space=args.space,
        resolutions=args.resolutions,
        classes=args.classes,
        precision=args.precision,
        batch=args.batch,
        threads=args.threads,
        options=options_of(args),
        budget=args.budget,
        out=args.out,
        seed=args.seed,
    )
    if args.json:
        cli.emit_json(built.summary)
    else:
        print_summary(built.summary, str(built.table.target))
    for block, reason in built.failures.items():
        cli.note(f"failed   {block}: {reason}")
    for doubt in doubts(built.table):
        if doubt.kind in ("noisy", "implausible"):
            cli.warn(f"{built.path}: {doubt.text}")
    return cli.FAILED if built.failures else cli.OK


def _in_backend(summary: dict[str, Any]) -> str:
    timing = summary["seconds_timing"]
    return f"the backend {summary['seconds_measuring']} s" if timing is None else f"timing {timing} s"


def _origins(summary: dict[str, Any]) -> str:
    from lut.table import in_words

    now = {origin: summary[origin] for origin in ("measured", "modelled") if summary[origin]}
    predicted = f", {summary['predicted']['blocks']} predicted" if summary["predicted"] else ""
    return f"{in_words(now)} now, {summary['noisy']} noisy{predicted}" if now else f"none new{predicted}"


def print_summary(summary: dict[str, Any], target: str) -> None:
    """Print for people what :func:`execute` did."""
    rows = [
        ("file", str(summary["lut"])),
        ("target", target),
        ("entries", f"{summary['entries']} ({_origins(summary)})"),
        ("time", f"{summary['seconds']} s, of which {_in_backend(summary)}"),
    ]
    if summary["fewest_trials"] is not None:
        trials = summary["fewest_trials"]
        rows.append(("tuning", f"{trials} trials or more for each operator" if trials else "none"))
    for name, value in rows:
        print(f"{name:8} {value}")


if __name__ == "__main__":
    sys.exit(main())
