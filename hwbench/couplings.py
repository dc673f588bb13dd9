"""``hwbench couplings``: which couplings of depth with the other choices make the best frontier on a device."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwbench import cli
from hwbench.search import add_force_argument, read_cost


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("couplings")
    p.add_argument("--family", type=cli.family, help="whose couplings (default: the table's, or glyphs)")
    latencies = p.add_mutually_exclusive_group()
    latencies.add_argument(
        "--lut", type=Path, metavar="FILE", help="latencies (default: the best table, or the shipped one)"
    )
    latencies.add_argument("--model", type=Path, metavar="FILE", help="latencies by what fit wrote")
    p.add_argument(
        "--cost",
        choices=("latency", "energy", "macs", "params", "memory"),
        default="latency",
        help="what accuracy is traded against; macs, params and memory need no table",
    )
    p.add_argument(
        "--accuracy",
        type=Path,
        metavar="FILE",
        help="of subnets of space ofa, measured or a predictor (default: the shipped ones)",
    )
    p.add_argument(
        "--keep-fixed", action="store_true", help="leave the kernel of each unit as CompOFA fixes it"
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the search of the whole space")
    p.add_argument(
        "--top", type=cli.positive_int, default=10, metavar="N", help="print so many of the best couplings"
    )
    p.add_argument("--csv", type=Path, metavar="FILE", help="all couplings, the best first")
    p.add_argument("--json", action="store_true", help="print all as JSON")
    add_force_argument(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Judge and tell."""
    from compofa.files import write_atomically
    from hwbench.frontiers.couplings import couplings

    if args.csv:
        cli.check_writable(args.csv)
    result = couplings(
        read_cost(args, args.cost),
        family=args.family,
        accuracy=args.accuracy,
        fixed=not args.keep_fixed,
        seed=args.seed,
        force=args.force,
    )
    rows = list(result.rows())
    if args.csv:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(args.csv, text.getvalue())
    if args.json:
        cli.emit_json(result.to_dict())
    else:
        print_summary(result.to_dict(), args.top)
    return cli.OK


def print_summary(document: dict[str, Any], top: int) -> None:
    """Print for people what was found: the best couplings, and CompOFA's own."""
    rows = document["couplings"]
    shown = rows[:top]
    rank = document["published_rank"]
    if rank is None:
        cli.note("no subnet of CompOFA's own coupling can run on this target")
    elif rank > top:
        shown = [*shown, rows[rank - 1]]
    print(f"target    {document['target']}")
    error = f", mean error {100 * document['accuracy_mae']:.2f} points" if document["accuracy_mae"] else ""
    print(
        f"accuracy  {document['accuracy_is']} ({document['accuracy']}{error}), all in the supernet of the whole space"
    )
    cli.print_table(
        f"{document['family']}: {len(rows):,} couplings of {document['subnets_each']:,} subnets each",
        ("rank", "coupling", "hypervolume", "of OFA's (%)", "most accurate (%)"),
        [
            (
                str(row["rank"]),
                row["coupling"] + (" (CompOFA)" if row["published"] else ""),
                f"{row['hypervolume']:.5f}",
                f"{100 * row['share_of_ofa']:.2f}",
                f"{100 * row['most_accurate']:.2f}",
            )
            for row in shown
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
