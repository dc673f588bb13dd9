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
    from compofa.accuracy import Accuracies, Header
    from compofa.evaluate import Evaluator
    from compofa.opened import Opened
    from compofa.spaces.arch import Arch
    from compofa.spaces.space import Space
    from compofa.world import World

WORTH_SAYING_S = 20
"""Work that takes less is not announced."""


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
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Measure the subnets that `args` describe and that the file has not yet."""
    cli.check_writable(args.out)
    from hwbench.torchrun import joined

    with joined(args.device) as device:
        _evaluate(args, device)
    return cli.OK


def _evaluate(args: argparse.Namespace, device: str) -> None:
    from compofa.evaluate import Evaluator
    from compofa.opened import open_with_data
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space
    from compofa.world import World

    world = World.joined()
    opened = open_with_data(args.supernet, args.data, args.family)
    header = make_header(opened)
    space = get_space(args.space, get_family(header.family))
    archs = read_archs(args.archs, space) if args.archs else choose(space, args.sample, args.seed)
    evaluator = Evaluator(
        opened.supernet, opened.train, opened.test, device=device, data_workers=_data_workers(args, world)
    )
    if world.rank:
        from compofa.parallel_evaluation import shared_counts

        for _ in shared_counts(evaluator, world.from_first([]), world):
            pass
    else:
        _measure(args, evaluator, opened.data, header, archs, world)


def _data_workers(args: argparse.Namespace, world: World) -> int | None:
    """Processes that read images: none where processes enough are at work already."""
    if args.data_workers is not None:
        return int(args.data_workers)
    return None if args.device.startswith("cuda") or world.size > 1 or args.workers == 1 else 0


def _measure(
    args: argparse.Namespace,
    evaluator: Evaluator,
    data: str,
    header: Header,
    archs: Sequence[Arch],
    world: World,
) -> None:
    """Measure what the file lacks, in the order of resolutions: images of one at a time are kept."""
    from compofa.accuracy import AccuracyFile
    from compofa.parallel_evaluation import Source, correct_counts, shared_counts

    with AccuracyFile(args.out, header) as file:
        todo = [arch for arch in archs if arch not in file.accuracies.correct]
        todo.sort(key=lambda arch: arch.resolution)
        if len(todo) < len(archs):
            cli.note(f"{args.out} has {len(archs) - len(todo)} of {len(archs)} subnets already")
        alone = world.size == 1 and device_has_one_process(args)
        at_once = world.size if world.size > 1 else 1 if alone else args.workers
        if todo:
            announce(evaluator, todo, at_once)
        if world.size > 1:
            counts = shared_counts(evaluator, world.from_first(todo), world)
        else:
            source = Source(args.supernet, data, args.family)
            counts = correct_counts(evaluator, source, todo, at_once)
        try:
            with cli.progress("evaluating subnets", len(todo)) as advance:
                for arch, correct in zip(todo, counts, strict=True):
                    file.add(arch, correct)
                    advance(1)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{args.out} keeps what was measured; the same command goes on") from None
        _report(args, file.accuracies, archs)


def device_has_one_process(args: argparse.Namespace) -> bool:
    """Whether the work is done in this process: only the CPU is shared among several."""
    return str(args.device) != "cpu"


def announce(evaluator: Evaluator, todo: Sequence[Arch], at_once: int) -> None:
    """Say how long it will take, where that is long."""
    from hwbench.training_progress import duration

    seconds = evaluator.estimated_s(todo) / at_once
    if seconds > WORTH_SAYING_S:
        cli.note(
            f"about {duration(seconds)} for {len(todo)} subnets on {len(evaluator.test)} images (measured on a batch"
            " of three of them)"
        )


def make_header(opened: Opened) -> Header:
    """What the accuracies that are measured are of."""
    from compofa.accuracy import Header
    from compofa.evaluate import CALIBRATION_IMAGES
    from compofa.identity import hash_names

    identity = opened.identity
    return Header(
        family=identity.family,
        supernet=identity.recipe or "published",
        supernet_sha256=identity.sha256,
        data=opened.test.name,
        images=len(opened.test),
        calibration_images=min(CALIBRATION_IMAGES, len(opened.train)),
        classes=identity.classes,
        class_names_sha256=hash_names(opened.test.class_names),
        precision="fp32",
    )


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


def _report(args: argparse.Namespace, accuracies: Accuracies, archs: Sequence[Arch]) -> None:
    values = [accuracies.accuracy(arch) for arch in archs]
    mean = sum(values) / len(values)
    summary = {
        "accuracies": str(args.out),
        "subnets": len(values),
        "images": accuracies.header.images,
        "data": accuracies.header.data,
        "precision": accuracies.header.precision,
        "calibration_images": accuracies.header.calibration_images,
        "supernet_sha256": accuracies.header.supernet_sha256,
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
