"""The papers' table: cost, accuracy, hypervolume and search time of each way to train a supernet, over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwbench import cli

if TYPE_CHECKING:
    from hwbench.frontiers.cloud import Cloud


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
        share: of the recipes' steps that are taken.
        subnets: random ones that are measured, of a method's space and of CompOFA's, each.
        seeds: how many.
        data: that is trained and tested on.
    """

    share: float
    subnets: int
    seeds: int
    data: str


FULL = Setting(share=1.0, subnets=200, seeds=3, data="glyphs")
FAST = Setting(share=0.01, subnets=6, seeds=2, data="glyphs")
"""Shows that every part runs; its accuracies say nothing of the methods."""


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


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """The rows, with hypervolumes from the slowest latency and the lowest accuracy of all."""
    reference = (
        max(float(run.own.cost.max()) for run in runs),
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
    share = document["setting"]["share"]
    if share <= FAST.share:
        cli.note("so few steps are too little training for these accuracies to say anything of the methods")
    elif share < 1:
        cli.note(f"trained for {share:g} of the recipes' steps: the full ones give other accuracies")


def with_spread(number: dict[str, float | None], form: str, scale: float = 1) -> str:
    """Such as ``75.36 +- 0.21``."""
    mean, sd = number["mean"], number["sd"]
    assert mean is not None
    return form.format(scale * mean) + (f" +- {form.format(scale * sd)}" if sd is not None else "")
