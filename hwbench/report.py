"""``hwbench report``: one page on which network to ship on which device, and how far to trust that."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from compofa.files import write_atomically
from hwbench import cli


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("report")
    p.add_argument(
        "--lut",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="tables of blocks, one a device; with --onnx also tables of kernels",
    )
    p.add_argument(
        "--accuracy",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="measured accuracies, one file for all spaces or one for each (default: the shipped ones)",
    )
    p.add_argument("--space", nargs="+", default=[], metavar="SPACE", help="(default: compofa and ofa)")
    p.add_argument(
        "--supernet",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="that the accuracies are of, for the commands in the page (default: the shipped ones)",
    )
    p.add_argument(
        "--onnx", type=Path, nargs="+", default=[], metavar="FILE", help="models whose latency is predicted"
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the searches")
    p.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page; replaced whole")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Gather, lay out, write."""
    cli.check_writable(args.out, (".html", ".htm"))
    from importlib.metadata import version

    from hwbench.reporting.gather import gather
    from hwbench.reporting.models import predict_models, split_tables
    from hwbench.reporting.page import render
    from hwbench.reporting.view import view

    blocks, kernels = split_tables(args.lut, bool(args.onnx))
    groups = gather(blocks, args.accuracy, args.supernet, args.space, args.seed)
    page = render(
        [view(group, number) for number, group in enumerate(groups, start=1)],
        models=predict_models(args.onnx, kernels),
        version=version("hwbench"),
        created=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        made_by=command_line(args),
    )
    write_atomically(args.out, page)
    print(f"{args.out}: {len(page.encode()) / 1e6:.2f} MB, " + "; ".join(group.name for group in groups))
    return cli.OK


def command_line(args: argparse.Namespace) -> str:
    """The command that makes the page again."""
    words = ["python", "-m", "hwbench.report"]
    for name in ("lut", "accuracy", "space", "supernet", "onnx"):
        values = [shlex.quote(str(value)) for value in getattr(args, name)]
        words += [f"--{name}", *values] if values else []
    return " ".join([*words, "--out", shlex.quote(str(args.out))])


if __name__ == "__main__":
    sys.exit(main())
