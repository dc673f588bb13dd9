"""``hwbench evaluate``: measure the accuracy of subnets of a supernet."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    from compofa.arch import Arch
    from compofa.spaces import Space


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("evaluate")
    p.add_argument("--supernet", type=Path, required=True, metavar="FILE", help="written by hwbench train")
    p.add_argument("--space", default="compofa", help="whose subnets")
    p.add_argument(
        "--sample",
        type=cli.positive_int,
        metavar="N",
        help="random subnets of the space (default: all of them)",
    )
    p.add_argument("--seed", type=int, default=0, help="of the sample")
    p.add_argument(
        "--archs",
        type=Path,
        metavar="FILE",
        help="these subnets instead: one on each line, or a CSV with a column arch",
    )
    p.add_argument("--data", default="glyphs", help="glyphs, digits or imagefolder:PATH; its test split")
    p.add_argument("--workers", type=cli.positive_int, default=os.cpu_count(), help="processes of one thread")
    p.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="accuracies to begin or go on with"
    )
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    p.excludes("--archs", "--sample", "--seed")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Measure the subnets that `args` describe and that the file has not yet."""
    cli.check_writable(args.out)
    from compofa.accuracy import Accuracies, Header, append
    from compofa.checkpoint import load_supernet
    from compofa.data import load_data
    from compofa.evaluate import CALIBRATION_IMAGES, correct_counts
    from compofa.families import get_family
    from compofa.spaces import get_space

    supernet, provenance = load_supernet(args.supernet)
    test = load_data(args.data, "test")
    load_data(args.data, "train")  # rendered here once, not by each worker
    header = Header(
        family=supernet.family.name,
        supernet=provenance["recipe"]["name"],
        supernet_sha256=hashlib.sha256(args.supernet.read_bytes()).hexdigest(),
        data=test.name,
        images=len(test),
        calibration_images=CALIBRATION_IMAGES,
    )
    space = get_space(args.space, get_family(header.family))
    archs = read_archs(args.archs, space) if args.archs else choose(space, args.sample, args.seed)
    done = Accuracies.load(args.out).correct if args.out.exists() else {}
    todo = [arch for arch in archs if arch not in done]
    if len(todo) < len(archs):
        cli.note(f"{args.out} has {len(archs) - len(todo)} of {len(archs)} subnets already")
    with cli.progress("evaluating subnets", len(todo)) as advance:

        def measured() -> Iterator[tuple[Arch, int]]:
            counts = correct_counts(args.supernet, args.data, todo, args.workers)
            for arch, correct in zip(todo, counts, strict=True):
                yield arch, correct
                advance(1)

        try:
            append(args.out, header, measured() if todo else ())
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{args.out} keeps what was measured; the same command goes on") from None
    _report(args, Accuracies.load(args.out), archs)
    return cli.OK


def choose(space: Space, sample: int | None, seed: int) -> list[Arch]:
    """Distinct random subnets of `space`, or all.

    Raises:
        ValueError: the space is too large to evaluate all, or smaller than the sample.
    """
    import numpy as np

    total = space.size() * len(space.family.resolutions)
    if sample is None:
        if total > 100_000:
            raise InputError(f"{space.name} has {total:.1e} subnets: say how many with --sample N")
        return list(space.enumerate())
    if sample > total:
        raise InputError(f"{space.name} has only {total} subnets, not {sample}")
    rng = np.random.default_rng(seed)
    found: dict[Arch, None] = {}
    while len(found) < sample:
        found[space.sample(rng)] = None
    return list(found)


def read_archs(path: Path, space: Space) -> list[Arch]:
    """The distinct subnets in a file: one on each line, or the column ``arch`` of a CSV.

    Raises:
        ValueError: there is none, or a line is no subnet of `space`; names the line.
        OSError: the file cannot be read.
    """
    import csv

    from compofa.arch import Arch, InvalidArch

    rows = list(csv.reader(path.read_text().splitlines()))
    column = rows[0].index("arch") if rows and "arch" in rows[0] else None
    found: dict[Arch, None] = {}
    for number, row in enumerate(rows, start=1):
        if not row or (column is not None and number == 1):
            continue
        try:
            arch = Arch.parse(row[column or 0])
            space.check(arch)
        except (InvalidArch, IndexError) as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        found[arch] = None
    if not found:
        raise InputError(f"{path} holds no subnets")
    return list(found)


def _report(args: argparse.Namespace, accuracies: Any, archs: Sequence[Arch]) -> None:
    values = [accuracies.accuracy(arch) for arch in archs]
    mean = sum(values) / len(values)
    summary = {
        "accuracies": str(args.out),
        "subnets": len(values),
        "images": accuracies.header.images,
        "mean": mean,
        "lowest": min(values),
        "highest": max(values),
        "standard_error": accuracies.standard_error(mean),
    }
    if args.json:
        cli.emit_json(summary)
    else:
        print(
            f"{len(values)} subnets on {summary['images']} images of {accuracies.header.data}: "
            f"accuracy {min(values):.4f} to {max(values):.4f}, mean {mean:.4f} "
            f"(standard error of one {summary['standard_error']:.4f})"
        )


if __name__ == "__main__":
    sys.exit(main())
