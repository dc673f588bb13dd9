"""``hwbench reproduce``: from training to the papers' table, on the embedded task, over several seeds.

Every part is resumed: what is trained and measured in the folder is not done again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwbench import cli
from hwbench.papers_table import FAST, FULL, METHODS, Run, Setting, describe, rows_of, show, write

if TYPE_CHECKING:
    from compofa.recipe import Recipe
    from compofa.spaces.arch import Arch
    from hwbench.frontiers.cloud import Cloud

FAMILY = "glyphs"
TEACHER = "glyphs-teacher"


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("reproduce")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="of all runs; resumed")
    p.add_argument(
        "--fast", action="store_true", help="minutes instead of hours: a check that every part runs"
    )
    p.add_argument("--seeds", type=cli.positive_int, metavar="N", help="how many (default: 3; fast: 2)")
    p.add_argument(
        "--data",
        choices=("glyphs", "digits"),
        help="glyphs, or what is learned in half an hour and tells less (default: glyphs)",
    )
    p.add_argument(
        "--share",
        type=cli.positive_number,
        help="of the recipes' steps that are taken, the same of all (default: 1; fast: 0.01)",
    )
    p.add_argument(
        "--subnets",
        type=cli.positive_int,
        metavar="N",
        help="random ones that are measured, of a method's space and of CompOFA's (default: 200 each; fast: 6)",
    )
    p.add_argument(
        "--lut",
        type=Path,
        metavar="FILE",
        help="latencies (default: a table built now; fast: the shipped one)",
    )
    p.add_argument("--threads", type=cli.positive_int, default=1, help="of torch in training")
    p.add_argument("--workers", type=cli.positive_int, default=os.cpu_count(), help="processes that evaluate")
    p.add_argument("--json", action="store_true", help="print all rows as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Train, evaluate, search, tell."""
    setting = read_setting(args)
    args.out.mkdir(parents=True, exist_ok=True)
    cli.check_writable(args.out / "reproduce.json")
    import torch

    torch.set_num_threads(args.threads)
    table = find_table(args)
    runs: list[Run] = []
    for seed in range(setting.seeds):
        runs += run_seed(args.out / f"seed-{seed}", seed, setting, table, args.workers)
        document = describe(rows_of(runs), replace(setting, seeds=seed + 1), table)
        write(args.out / "reproduce.json", document)
    if args.json:
        cli.emit_json(document)
    else:
        show(document)
    return cli.OK


def read_setting(args: argparse.Namespace) -> Setting:
    """The full or the fast setting, with what `args` change of it."""
    names = ("data", "share", "subnets", "seeds")
    changes = {name: getattr(args, name) for name in names if getattr(args, name)}
    return replace(FAST if args.fast else FULL, **changes)


def find_table(args: argparse.Namespace) -> Path:
    """The lookup table: the given one, the shipped one, or one that is built now."""
    from hwbench import shipped

    if args.lut:
        return Path(args.lut)
    if args.fast:
        return shipped.reference_table(FAMILY)
    path: Path = args.out / "table.jsonl"
    from hwbench.building import build_table

    return build_table(family=FAMILY, out=path).path


def run_seed(folder: Path, seed: int, setting: Setting, table: Path, workers: int) -> list[Run]:
    """All methods with one seed."""
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space
    from hwbench import training_runs
    from hwbench.evaluating import choose
    from hwbench.training_progress import training_progress

    family = get_family(FAMILY)

    def train(name: str, teacher: Path | None = None) -> Path:
        out = folder / name
        return training_runs.train(
            recipe(name, seed, setting), out=out, teacher=teacher, progress=training_progress
        ).path

    teacher = train(TEACHER)
    shared = choose(get_space("compofa", family), setting.subnets, seed=1)
    runs = []
    for method in METHODS:
        supernet = train(method.recipe, teacher if method.teacher else None)
        own = choose(get_space(method.space, family), setting.subnets, seed=0)
        accuracy = evaluate(supernet, [*own, *shared], folder / f"{method.recipe}.accuracy.jsonl", workers)
        cost = [cost_of(path) for path in ([teacher] if method.teacher else []) + [supernet]]
        runs.append(
            Run(
                method,
                seed,
                sum(c["cpu_s"] for c in cost),
                sum(c["subnet_passes"] for c in cost),
                cloud(own, accuracy, table),
                statistics.fmean(accuracy(arch) for arch in shared),
                search_s(method.space, seed, table),
            )
        )
    return runs


def recipe(name: str, seed: int, setting: Setting) -> Recipe:
    """A shipped recipe with that seed and length."""
    from compofa.recipe import Recipe

    found = Recipe.load(name)
    return replace(found, data=setting.data, seed=seed, epoch_scale=found.epoch_scale * setting.share)


def cost_of(supernet: Path) -> dict[str, Any]:
    """What the training of a supernet took, as its file says."""
    from compofa.checkpoint import load_supernet

    cost: dict[str, Any] = load_supernet(supernet)[1]["cost"]
    return cost


def evaluate(supernet: Path, archs: Sequence[Arch], out: Path, workers: int) -> Callable[[Arch], float]:
    """Measure subnets, but for those that the file has; gives the accuracy of each."""
    from hwbench.evaluating import evaluate as measure

    def shown(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        return cli.progress(f"evaluating {supernet.parent.name}", total)

    found = measure(supernet, lambda space: archs, out=out, workers=workers, progress=shown)
    return found.accuracies.accuracy


def cloud(archs: Sequence[Arch], accuracy: Callable[[Arch], float], table: Path) -> Cloud:
    """Measured accuracies with the table's latencies."""
    import numpy as np

    from compofa.spaces.layout import encode
    from compofa.spaces.registry import get_family
    from hwbench.frontiers.cloud import Cloud
    from hwbench.inputs.costs import open_source

    model = open_source(table, get_family(FAMILY)).cost
    genotypes = encode(model.family, list(archs))
    return Cloud(
        model.family, genotypes, model.predict(genotypes), np.array([accuracy(arch) for arch in archs])
    )


def search_s(space: str, seed: int, table: Path) -> float:
    """Seconds of a search of a space's whole frontier, by the shipped accuracies: what they are does not change it."""
    from hwbench import shipped
    from hwbench.searching.run import search

    accuracy = shipped.predictor(FAMILY) if space == "compofa-elastic" else None
    return search(table, space=space, accuracy=accuracy, seed=seed).seconds


if __name__ == "__main__":
    sys.exit(main())
