"""``hwbench evaluate``: measure the accuracy of subnets of a supernet."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    from compofa.spaces.arch import Arch
    from compofa.spaces.space import Space
    from hwbench.evaluating import Evaluated


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("evaluate")
    p.add_argument(
        "--supernet",
        type=Path,
        required=True,
        metavar="FILE",
        help="written by hwbench train, or a published state dict",
    )
    p.add_argument("--family", type=cli.family, help="of a published state dict, such as imagenet-w1.0")
    p.add_argument("--space", default="compofa", help="whose subnets")
    p.add_argument(
        "--sample",
        type=cli.positive_int,
        metavar="N",
        help="random subnets of the space (default: all of them)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the sample")
    p.add_argument(
        "--archs",
        type=Path,
        metavar="FILE",
        help="these subnets instead: one on each line, or a CSV with a column arch",
    )
    p.add_argument(
        "--data",
        help="glyphs, digits, imagefolder:PATH or webdataset:PATTERN: the test split (default: that of training)",
    )
    p.add_argument(
        "--precision",
        choices=("fp32", "int8"),
        default="fp32",
        help="int8: each subnet is quantised with training images and run by ONNX Runtime, in one process (default: "
        "%(default)s)",
    )
    p.add_argument(
        "--workers", type=cli.positive_int, default=os.cpu_count(), help="processes of one thread, on the CPU"
    )
    p.add_argument(
        "--device", default="cpu", help="cpu, cuda, cuda:1 ...; under torchrun each process takes one"
    )
    p.add_argument(
        "--data-workers",
        type=cli.positive_int,
        metavar="N",
        help="processes that read images, each (default: what the cores allow, where the network leaves them any)",
    )
    p.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="accuracies to begin or go on with"
    )
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    p.excludes("--archs", "--sample", "--seed")
    p.enables("--sample", "--seed")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Measure the subnets that `args` describe and that the file has not yet."""
    cli.check_writable(args.out)
    from hwbench.evaluating import choose, evaluate
    from hwbench.torchrun import is_first

    def chosen(space: Space) -> list[Arch]:
        return read_archs(args.archs, space) if args.archs else choose(space, args.sample, args.seed)

    names = ("space", "out", "data", "family", "device", "workers", "data_workers", "precision")
    options = {name: getattr(args, name) for name in names}
    found = evaluate(args.supernet, chosen, **options, progress=cli.progress, say=cli.note)
    if is_first():
        _report(found, args)
    return cli.OK


def read_archs(path: Path, space: Space) -> list[Arch]:
    """The distinct subnets in a file, in any form that :mod:`lut.subnets_csv` reads.

    Raises:
        InputError: there is none, or a line is no subnet of `space`; names the line.
        OSError: the file cannot be read.
    """
    from compofa.spaces.arch import InvalidArch
    from lut.subnets_csv import read_subnets

    file = read_subnets(path, space.family)
    found: dict[Arch, None] = {}
    for line, arch in zip(file.lines, file.archs(), strict=True):
        try:
            space.check(arch)
        except InvalidArch as error:
            raise InputError(f"{path}, line {line}: {error}") from error
        found[arch] = None
    return list(found)


def _report(found: Evaluated, args: argparse.Namespace) -> None:
    summary = {"accuracies": str(args.out), **found.summary}
    if args.json:
        cli.emit_json(summary)
    else:
        print(
            f"{summary['subnets']} subnets in {summary['precision']} on {summary['images']} images of "
            f"{summary['data']}: "
            f"accuracy {summary['lowest']:.4f} to {summary['highest']:.4f}, mean {summary['mean']:.4f} "
            f"(standard error of one {summary['standard_error']:.4f})"
        )


if __name__ == "__main__":
    sys.exit(main())
