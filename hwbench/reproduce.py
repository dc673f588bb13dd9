"""``hwbench reproduce``: from training to the papers' table, on the embedded task, over several seeds.

Every part is resumed: what is trained and measured in the folder is not done again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwbench import cli
from hwbench.papers_table import FAST, FULL, METHODS, Method, Run, Setting, describe, rows_of, show, write

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
    p.add_argument("--threads", type=cli.positive_int, default=1, help="of torch in each training")
    p.add_argument(
        "--workers",
        type=cli.positive_int,
        default=os.cpu_count(),
        help="processes that train and evaluate (default: one a core)",
    )
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
    table = find_table(args)
    supernets = train_all(args.out, setting, args.workers, args.threads)
    runs: list[Run] = []
    for seed in range(setting.seeds):
        runs += [measure(method, seed, supernets, setting, table, args.workers) for method in METHODS]
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


Supernets = Mapping[tuple[str, int], Path]
"""The file of each recipe and seed."""


def train_all(folder: Path, setting: Setting, workers: int, threads: int) -> Supernets:
    """All teachers, and all methods from the teacher of their seed, as many at once as there are workers.

    Raises:
        KeyboardInterrupt: it was told to stop; there are checkpoints.
    """
    from compofa.data import load_data
    from hwbench.training_pool import training_pool

    load_data(setting.data, "train")  # made once, not by each process
    seeds = range(setting.seeds)
    runs: dict[tuple[str, int], Future[Path]] = {}
    with training_pool(workers, threads) as start:

        def train(name: str, seed: int, teacher: Path | None = None) -> None:
            out = folder / f"seed-{seed}" / name
            runs[name, seed] = start(recipe(name, seed, setting), out, teacher)

        try:
            for name in (TEACHER, *(method.recipe for method in METHODS if not method.teacher)):
                for seed in seeds:
                    train(name, seed)
            for seed in seeds:
                teacher = runs[TEACHER, seed].result()
                for method in METHODS:
                    if method.teacher:
                        train(method.recipe, seed, teacher)
            return {run: future.result() for run, future in runs.items()}
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{folder} holds checkpoints; the same command goes on from there"
            ) from None


def measure(
    method: Method, seed: int, supernets: Supernets, setting: Setting, table: Path, workers: int
) -> Run:
    """What the subnets of a trained method reach."""
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space
    from hwbench.evaluating import choose

    family = get_family(FAMILY)
    own = choose(get_space(method.space, family), setting.subnets, seed=0)
    shared = choose(get_space("compofa", family), setting.subnets, seed=1)
    supernet = supernets[method.recipe, seed]
    accuracy = evaluate(supernet, [*own, *shared], workers)
    cost = [cost_of(path) for path in ([supernets[TEACHER, seed]] if method.teacher else []) + [supernet]]
    return Run(
        method,
        seed,
        sum(c["cpu_s"] for c in cost),
        sum(c["subnet_passes"] for c in cost),
        cloud(own, accuracy, table),
        statistics.fmean(accuracy(arch) for arch in shared),
        search_s(method.space, seed, table),
    )


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


def evaluate(supernet: Path, archs: Sequence[Arch], workers: int) -> Callable[[Arch], float]:
    """Measure subnets, but for those that have been; gives the accuracy of each."""
    from hwbench.evaluating import evaluate

    run = supernet.parent
    out = run.with_name(f"{run.name}.accuracy.jsonl")

    def shown(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        return cli.progress(f"{run.parent.name}: evaluating {run.name}", total)

    found = evaluate(supernet, lambda space: archs, out=out, workers=workers, progress=shown)
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
