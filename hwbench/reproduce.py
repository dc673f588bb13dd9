"""``hwbench reproduce``: from training to the papers' table, on the embedded task, over several seeds.

Every part is resumed: what is trained and measured in the folder is not done again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwbench import cli

if TYPE_CHECKING:
    from compofa.arch import Arch
    from compofa.recipe import Recipe
    from hwbench.frontier import Cloud

FAMILY = "glyphs"
TEACHER = "glyphs-teacher"


@dataclass(frozen=True)
class Method:
    """One way to train a supernet.

    Args:
        name: as in the papers.
        recipe: that trains it.
        space: whose subnets it is for.
        teacher: whether it starts from, and costs, one.
        published: what the papers say of its cost, on ImageNet.
    """

    name: str
    recipe: str
    space: str
    teacher: bool
    published: str


METHODS = (
    Method("OFA", "glyphs-ofa", "ofa", True, "978.3 GPU hours; search 4.5 h"),
    Method("CompOFA", "glyphs-compofa", "compofa", True, "493.5 GPU hours (0.504); search 75 s"),
    Method("CompOFA-elastic", "glyphs-compofa-elastic", "compofa-elastic", True, "as CompOFA"),
    Method("sandwich", "glyphs-sandwich", "ofa", False, "not of these papers"),
)
"""CompOFA, table 1 and section 5: with the teacher, on V100s."""


@dataclass(frozen=True)
class Setting:
    """How thoroughly.

    Args:
        shorten: the recipes' epochs are divided by it.
        subnets: random ones that are measured, of a method's space and of CompOFA's, each.
        seeds: how many.
    """

    shorten: float
    subnets: int
    seeds: int


FULL = Setting(shorten=1, subnets=200, seeds=3)
FAST = Setting(shorten=100, subnets=6, seeds=2)
"""Shows that every part runs; its accuracies say nothing of the methods."""


@dataclass(frozen=True)
class Row:
    """A method with one seed, all measured but for the latencies below the hypervolume, which a table predicts.

    Args:
        method: its name.
        seed: of the training.
        processor_s: of the training, the teacher's with it.
        passes: images x subnets of the training, the teacher's with it.
        accuracy: mean over random subnets of its space.
        compofa_accuracy: mean over the same random subnets of CompOFA's space, in each supernet.
        hypervolume: of its space's measured subnets, in ms x accuracy, from one reference for all.
        search_s: seconds of a search of the whole frontier of its space.
    """

    method: str
    seed: int
    processor_s: float
    passes: int
    accuracy: float
    compofa_accuracy: float
    hypervolume: float
    search_s: float


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("reproduce")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="of all runs; resumed")
    p.add_argument(
        "--fast", action="store_true", help="minutes instead of hours: a check that every part runs"
    )
    p.add_argument("--seeds", type=cli.positive_int, metavar="N", help="how many (default: 3; fast: 2)")
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
    setting = FAST if args.fast else FULL
    setting = replace(setting, seeds=args.seeds or setting.seeds)
    args.out.mkdir(parents=True, exist_ok=True)
    cli.check_writable(args.out / "reproduce.json")
    import torch

    torch.set_num_threads(args.threads)
    table = find_table(args)
    runs = [
        measured
        for seed in range(setting.seeds)
        for measured in run_seed(args.out / f"seed-{seed}", seed, setting, table, args.workers)
    ]
    document = describe(rows_of(runs), setting, table)
    write(args.out / "reproduce.json", document)
    if args.json:
        cli.emit_json(document)
    else:
        show(document)
    return cli.OK


def find_table(args: argparse.Namespace) -> Path:
    """The lookup table: the given one, the shipped one, or one that is built now."""
    from hwbench import shipped

    if args.lut:
        return Path(args.lut)
    if args.fast:
        return shipped.reference_table(FAMILY)
    path: Path = args.out / "table.jsonl"
    from hwbench import build_lut

    build_lut.execute(build_lut.parser().parse_args(["--family", FAMILY, "--out", str(path)]))
    return path


@dataclass(frozen=True)
class Run:
    """A method trained with a seed: what a :class:`Row` is made of once all runs are there."""

    method: Method
    seed: int
    processor_s: float
    passes: int
    own: Cloud
    compofa_accuracy: float
    search_s: float


def run_seed(folder: Path, seed: int, setting: Setting, table: Path, workers: int) -> list[Run]:
    """All methods with one seed."""
    from compofa.data import load_data
    from compofa.families import get_family
    from compofa.spaces import get_space
    from hwbench.evaluate import choose

    data = load_data(FAMILY, "train")
    family = get_family(FAMILY)

    def train(name: str, teacher: Path | None = None) -> Path:
        from compofa.training.trainer import Trainer
        from hwbench.train import train_to_the_end

        return train_to_the_end(Trainer(recipe(name, seed, setting), data, folder / name, teacher))

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
    return replace(found, seed=seed, epoch_scale=found.epoch_scale / setting.shorten)


def cost_of(supernet: Path) -> dict[str, Any]:
    """What the training of a supernet took, as its file says."""
    from compofa.checkpoint import load_supernet

    cost: dict[str, Any] = load_supernet(supernet)[1]["cost"]
    return cost


def evaluate(supernet: Path, archs: Sequence[Arch], out: Path, workers: int) -> Callable[[Arch], float]:
    """Measure subnets, but for those that the file has; gives the accuracy of each."""
    from compofa.accuracy import AccuracyFile
    from compofa.evaluate import Evaluator
    from compofa.opened import open_with_data
    from compofa.parallel_evaluation import Source, correct_counts
    from hwbench.evaluate import make_header

    opened = open_with_data(supernet, FAMILY)
    evaluator = Evaluator(opened.supernet, opened.train, opened.test)
    with AccuracyFile(out, make_header(opened)) as file:
        todo = [arch for arch in dict.fromkeys(archs) if arch not in file.accuracies.correct]
        todo.sort(key=lambda arch: arch.resolution)
        counts = correct_counts(evaluator, Source(supernet, opened.data), todo, workers) if todo else ()
        with cli.progress(f"evaluating {supernet.parent.name}", len(todo)) as advance:
            for arch, correct in zip(todo, counts, strict=True):
                file.add(arch, correct)
                advance(1)
        return file.accuracies.accuracy


def cloud(archs: Sequence[Arch], accuracy: Callable[[Arch], float], table: Path) -> Cloud:
    """Measured accuracies with the table's latencies."""
    import numpy as np

    from compofa.families import get_family
    from compofa.genotype import encode
    from hwbench.frontier import Cloud
    from hwbench.sources import load_latency_model

    model = load_latency_model(table, get_family(FAMILY))
    genotypes = encode(model.family, list(archs))
    return Cloud(
        model.family, genotypes, model.predict_ms(genotypes), np.array([accuracy(arch) for arch in archs])
    )


def search_s(space: str, seed: int, table: Path) -> float:
    """Seconds of a search of a space's whole frontier, by the shipped accuracies: what they are does not change it."""
    from hwbench import search, shipped

    arguments = ["--space", space, "--lut", str(table), "--seed", str(seed)]
    if space == "compofa-elastic":
        arguments += ["--accuracy", str(shipped.predictor(FAMILY))]
    return search.run_search(search.parser().parse_args(arguments)).seconds


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """The rows, with hypervolumes from the slowest latency and the lowest accuracy of all."""
    reference = (
        max(float(run.own.latency_ms.max()) for run in runs),
        min(float(run.own.accuracy.min()) for run in runs),
    )
    return [
        Row(
            run.method.name,
            run.seed,
            run.processor_s,
            run.passes,
            float(run.own.accuracy.mean()),
            run.compofa_accuracy,
            run.own.hypervolume(reference),
            run.search_s,
        )
        for run in runs
    ]


# --- telling ---

NUMBERS = ("processor_s", "passes", "accuracy", "compofa_accuracy", "hypervolume", "search_s")


def describe(rows: Sequence[Row], setting: Setting, table: Path) -> dict[str, Any]:
    """All rows, and mean and standard deviation over the seeds of each method."""
    methods = []
    for method in METHODS:
        mine = [row for row in rows if row.method == method.name]
        numbers = {name: spread([getattr(row, name) for row in mine]) for name in NUMBERS}
        methods.append({"method": method.name, "published": method.published, **numbers})
    return {
        "setting": asdict(setting),
        "table": str(table),
        "rows": [asdict(row) for row in rows],
        "methods": methods,
    }


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and standard deviation; the latter is None for one value."""
    return {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """Write `document` as JSON."""
    import json

    from compofa.files import write_atomically

    write_atomically(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def show(document: dict[str, Any]) -> None:
    """Print the table for people."""
    ofa_s = document["methods"][0]["processor_s"]["mean"]
    rows = []
    for method in document["methods"]:
        rows.append(
            (
                method["method"],
                with_spread(method["processor_s"], "{:.0f}"),
                f"{method['processor_s']['mean'] / ofa_s:.3f}",
                with_spread(method["accuracy"], "{:.2f}", 100),
                with_spread(method["compofa_accuracy"], "{:.2f}", 100),
                with_spread(method["hypervolume"], "{:.4f}"),
                with_spread(method["search_s"], "{:.2f}"),
            )
        )
    columns = ("method", "processor s", "of OFA's", "accuracy %", "CompOFA's %", "hypervolume", "search s")
    seeds = document["setting"]["seeds"]
    title = f"measured over {seeds} seeds, mean and standard deviation; latencies predicted by a table"
    cli.print_table(title, columns, rows)
    print(
        "accuracy of random subnets of a method's own space, and of the same ones of CompOFA's in each supernet"
    )
    for method in document["methods"]:
        print(f"published for {method['method']}, on ImageNet: {method['published']}")
    if document["setting"]["shorten"] > 1:
        cli.note("the fast setting trains too little for its accuracies to say anything of the methods")


def with_spread(number: dict[str, float | None], form: str, scale: float = 1) -> str:
    """Such as ``75.36 +- 0.21``."""
    mean, sd = number["mean"], number["sd"]
    assert mean is not None
    return form.format(scale * mean) + (f" +- {form.format(scale * sd)}" if sd is not None else "")


if __name__ == "__main__":
    sys.exit(main())
