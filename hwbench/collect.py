"""``hwbench collect``: time the kernels that tell most about networks in general."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from compofa.errors import InputError
from hwbench import cli

DEFAULT_BUDGET = 600


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser(
        "collect",
        epilog="Networks are random ones of timm's families (extra networks), or those of the ONNX files that are "
        "given. Needs minutes; an interrupted run keeps what it measured.",
    )
    p.add_argument(
        "models", type=Path, nargs="*", metavar="MODEL.onnx", help="take kernels from these networks"
    )
    p.add_argument(
        "--budget", type=cli.positive_int, default=DEFAULT_BUDGET, metavar="N", help="kernels to time"
    )
    p.add_argument("--threads", type=cli.positive_int, default=1, help="of one run")
    p.add_argument(
        "--out",
        type=Path,
        metavar="FILE.jsonl",
        help="table of kernels to add to (default: one in ~/.cache/hwbench/tables)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the networks and the order of timing")
    p.add_argument("--json", action="store_true", help="print a summary as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace, clock: Callable[[], float] = time.monotonic) -> int:
    """Collect, and say what it came to."""
    from hwbench.profiling import families
    from hwbench.profiling.collecting import collect
    from hwbench.profiling.measuring import Profiler
    from hwbench.profiling.tables import ProfileTable

    if args.out:
        cli.check_writable(args.out)
    if not args.models:
        families.check_timm()
    start = clock()
    profiler = Profiler(args.threads, args.seed, say=cli.note)
    with ProfileTable(profiler.backend, args.out) as table:
        with cli.progress("collecting kernels", args.budget) as advance:
            found = collect(profiler, table, args.budget, args.models, args.seed, advance)
        there = table.writer.table
        summary = {
            "lut": str(table.path),
            "target": there.target.to_dict(),
            "kernels": found.kernels,
            "networks": found.networks,
            "left_out": found.left_out,
            "kernels_in_table": len(there.entries),
            "networks_in_table": len(there.networks),
            "seconds": round(clock() - start, 3),
        }
    if not found.networks:
        raise InputError(
            f"none of the networks can be used: {found.left_out[0] if found.left_out else 'none given'}"
        )
    for why in found.left_out:
        cli.note(f"left out: {why}")
    if args.json:
        cli.emit_json(summary)
        return cli.OK
    print(f"table    {summary['lut']}")
    print(f"target   {there.target}")
    print(
        f"kernels  {found.kernels} measured now, of {found.networks} networks, which were measured, too; "
        f"{summary['kernels_in_table']} in the table"
    )
    print(f"time     {summary['seconds']:.1f} s")
    return cli.OK


if __name__ == "__main__":
    sys.exit(main())
