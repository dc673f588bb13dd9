"""``hwbench search``: the most accurate subnet within a latency, or the whole frontier."""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    import numpy as np

    from compofa.spaces import Space
    from hwbench.accuracy_source import AccuracySource
    from hwbench.searching.additive import Additive
    from hwbench.searching.engine import Found
    from hwbench.searching.problem import Evaluated, Problem
    from hwbench.subnet_latency import SubnetLatency
    from lut.model import LatencyModel

CALIBRATION = ".calibration.json"
SPARE = 2.0
"""Times the largest additive latency, which stands for no limit: a model that is not additive may say more."""


def named_limit(text: str) -> tuple[str, float]:
    """An argparse type: ``20`` or ``TARGET=20``, in milliseconds; gives the name ("" if none) and the number."""
    name, _, number = text.rpartition("=")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit > 0):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a latency: give milliseconds as a positive number without a unit, such as 20 or TARGET=20"
        )
    return name, limit


def named_file(text: str) -> tuple[str, Path]:
    """An argparse type: ``FILE`` or ``NAME=FILE``; the name is the file's, without its suffix, unless given."""
    name, equals, path = text.partition("=")
    if equals and not Path(text).exists():
        return name, Path(path)
    return Path(text).name.split(".")[0], Path(text)


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("search")
    p.add_argument("--space", default="ofa", help="ofa, compofa or compofa-elastic")
    p.add_argument("--family", help="whose subnets (default: the table's, or glyphs)")
    add_latency_arguments(p)
    p.add_argument(
        "--accuracy",
        type=Path,
        metavar="FILE",
        help="measured accuracies, an accuracy predictor, or OFA's published one (default: the shipped one)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the subnets that are tried")
    p.add_argument("--csv", type=Path, metavar="FILE", help="the frontier of all subnets looked at")
    p.add_argument("--json", action="store_true", help="print what was found as JSON")
    return p


def add_latency_arguments(p: cli.Parser) -> None:
    """``--latency-ms``, ``--lut`` and ``--model``."""
    p.add_argument(
        "--latency-ms",
        action="append",
        type=named_limit,
        default=[],
        metavar="L",
        help="limit in milliseconds; repeat it for several searches at once, or, with several tables, give "
        "TARGET=L for each (default: the whole frontier)",
    )
    p.add_argument(
        "--lut",
        action="append",
        type=named_file,
        metavar="[NAME=]FILE",
        help="latencies: a table, calibrated if validate was run on it, or OFA's YAML, a file or a folder; "
        "repeat it for several targets (default: the newest table of the family, or the shipped one)",
    )
    p.add_argument(
        "--model",
        action="append",
        type=named_file,
        metavar="[NAME=]FILE",
        help="the same by what fit wrote, a model of whole subnets, or by the calibration that validate wrote "
        "beside a table",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


@dataclass(frozen=True)
class Targets:
    """Latency models by target name, and the file of each."""

    models: dict[str, LatencyModel | SubnetLatency]
    files: dict[str, Path]


@dataclass(frozen=True)
class Searched:
    """A search, ready to be told.

    Args:
        problem: what was searched.
        targets: the latencies.
        accuracy: the accuracies.
        constraints: limits in ms by target name, one for each result.
        found: the answer.
        seconds: that the search took, reading files left out.
    """

    problem: Problem
    targets: Targets
    accuracy: AccuracySource
    constraints: list[dict[str, float]]
    found: Found
    seconds: float


def execute(args: argparse.Namespace) -> int:
    """Search and tell."""
    if args.csv:
        cli.check_writable(args.csv)
    searched = run_search(args)
    document = describe(searched)
    if args.csv:
        write_csv(args.csv, searched)
    if args.json:
        cli.emit_json(document)
    else:
        print_summary(document)
    return cli.OK


def run_search(args: argparse.Namespace, clock: Callable[[], float] = time.perf_counter) -> Searched:
    """The search that `args` describe."""
    from compofa.spaces import get_space
    from hwbench.accuracy_source import open_accuracy
    from hwbench.searching import engine

    targets = load_targets(args.lut, args.model, args.family)
    space = get_space(args.space, next(iter(targets.models.values())).family)
    accuracy = open_accuracy(args.accuracy, space)
    problem = make_problem(space, targets, accuracy)
    constraints = read_constraints(args.latency_ms, list(targets.models))
    start = clock()
    found = engine.search(problem, limits_of(constraints, problem, list(targets.models)), args.seed)
    return Searched(problem, targets, accuracy, constraints, found, clock() - start)


# --- what is asked ---


def load_targets(
    luts: Sequence[tuple[str, Path]] | None, models: Sequence[tuple[str, Path]] | None, family: str | None
) -> Targets:
    """The latency models, all of one family.

    Raises:
        ValueError: two have one name, or they are of different families; or a file is broken.
    """
    from compofa.families import get_family
    from hwbench.sources import find_table
    from hwbench.subnet_latency import SubnetLatency
    from lut.calibration import load_model

    fitted = [(name, path) for name, path in models or () if not path.name.endswith(CALIBRATION)]
    tables = [(name, _table_of(path)) for name, path in models or () if path.name.endswith(CALIBRATION)]
    given = [*(luts or ()), *tables, *fitted]
    if not given:
        path, _ = find_table(None, get_family(family or "glyphs"))
        given = [(path.name.split(".")[0], path)]
    targets = Targets({}, {})
    for name, path in given:
        if name in targets.models:
            raise InputError(f"two targets are called {name!r}: name them, as in --lut A={path}")
        model = SubnetLatency.load(path) if (name, path) in fitted else load_model(path)
        targets.models[name], targets.files[name] = model, path
        _check_family(targets, name, family)
        if not isinstance(model, SubnetLatency) and not model.calibrated:
            cli.note(f"{path} is not calibrated: latencies are plain sums")
    return targets


def _table_of(model: Path) -> Path:
    if not model.is_file():
        raise FileNotFoundError(2, "No such file or directory", str(model))
    return model.with_name(model.name.removesuffix(CALIBRATION) + ".jsonl")


def _check_family(targets: Targets, name: str, family: str | None) -> None:
    wanted = family or next(iter(targets.models.values())).family.name
    found = targets.models[name].family.name
    if found != wanted:
        raise InputError(f"{targets.files[name]} holds latencies of family {found}, not of {wanted}")


def make_problem(space: Space, targets: Targets, accuracy: AccuracySource) -> Problem:
    """The search problem, at all resolutions that the tables cover and the accuracies are known at.

    Raises:
        MissingEntry: a table lacks blocks of the space; names the first.
        ValueError: there is no resolution in common.
    """
    from hwbench.searching.problem import Problem
    from hwbench.sources import covered_resolutions
    from hwbench.subnet_latency import SubnetLatency

    common = set(accuracy.resolutions)
    for name, model in targets.models.items():
        common &= set(covered_resolutions(model, space, targets.files[name]))
    if not common:
        raise InputError(
            f"the tables and the accuracies of {accuracy.path} have no resolution in common: "
            f"the accuracies are of {', '.join(map(str, accuracy.resolutions))}"
        )
    return Problem(
        space=space,
        latencies=tuple(
            model if isinstance(model, SubnetLatency) else model.lookup for model in targets.models.values()
        ),
        accuracy=accuracy.predict,
        resolutions=tuple(i for i, r in enumerate(space.family.resolutions) if r in common),
    )


def read_constraints(limits: Sequence[tuple[str, float]], names: Sequence[str]) -> list[dict[str, float]]:
    """What each result must meet: one limit each for a single target, all of them together for several.

    Raises:
        ValueError: a limit names no target, or the same one twice, or none where there are several.
    """
    for name, limit in limits:
        if name and name not in names:
            raise InputError(
                f"--latency-ms {name}={limit:g}: there is no target {name!r}, only {', '.join(names)}"
            )
        if not name and len(names) > 1:
            raise InputError(f"--latency-ms {limit:g}: say of which target, as in {names[0]}={limit:g}")
    if len(names) == 1:
        return [{names[0]: limit} for _, limit in limits]
    together = dict(limits)
    if len(together) < len(limits):
        raise InputError("with several targets give one --latency-ms for each")
    return [together] if together else []


def limits_of(constraints: Sequence[dict[str, float]], problem: Problem, names: Sequence[str]) -> np.ndarray:
    """Constraints as limits, shape (constraints, targets); a target without one gets what no subnet exceeds."""
    import numpy as np

    largest = [np.inf] * len(names)
    if any(len(c) < len(names) for c in constraints):
        largest = [SPARE * _most_ms(part) for part in problem.latency]
    rows = [[c.get(name, most) for name, most in zip(names, largest, strict=True)] for c in constraints]
    return np.array(rows).reshape(len(rows), len(names))


def _most_ms(latency: Additive) -> float:
    """More than any subnet takes."""
    import numpy as np

    return float(np.nanmax(latency.fixed + np.nan_to_num(latency.slots).max(2).sum(1)))


# --- what comes out ---


def describe(searched: Searched) -> dict[str, Any]:
    """What the command found, JSON-ready."""
    found, names = searched.found, list(searched.targets.models)
    frontier = _rows(searched, found.frontier)
    results = [
        {"constraint": c if len(names) > 1 else c[names[0]], **row, "may_miss": float(miss)}
        for c, row, miss in zip(
            searched.constraints, _rows(searched, found.best), found.may_miss, strict=True
        )
    ]
    family = searched.problem.space.family
    return {
        "space": searched.problem.space.name,
        "family": family.name,
        "resolutions": [family.resolutions[i] for i in searched.problem.resolutions],
        "method": found.method,
        "exact": found.exact,
        "targets": {
            name: describe_latency(model, searched.targets.files[name])
            for name, model in searched.targets.models.items()
        },
        "accuracy": str(searched.accuracy.path),
        "accuracy_is": searched.accuracy.origin,
        "accuracy_mae": searched.accuracy.error,
        "surrogate_residual": found.residual,
        "subnets_evaluated": found.evaluations,
        "seconds": searched.seconds,
        "results": results or [{"constraint": None, **row} for row in frontier],
        "frontier": frontier,
    }


def describe_latency(model: LatencyModel | SubnetLatency, path: Path) -> dict[str, Any]:
    """What the latencies are, JSON-ready."""
    from hwbench.subnet_latency import SubnetLatency

    if isinstance(model, SubnetLatency):
        return {**model.describe(path), "device": model.target}
    return {
        "lut": str(path),
        "latency": model.provenance,
        "blocks": model.table.origins,
        **model.target.to_dict(),
    }


def _rows(searched: Searched, subnets: Evaluated) -> list[dict[str, Any]]:
    from compofa.genotype import decode

    names = list(searched.targets.models)
    archs = decode(searched.problem.space.family, subnets.genotypes)
    return [
        {
            "arch": str(arch),
            "accuracy": float(accuracy),
            "latency_ms": dict(zip(names, ms, strict=True)) if len(names) > 1 else ms[0],
        }
        for arch, accuracy, ms in zip(archs, subnets.accuracy, subnets.latency_ms.tolist(), strict=True)
    ]


def write_csv(path: Path, searched: Searched) -> None:
    """The frontier as rows: arch, accuracy, and the latency on each target."""
    names = list(searched.targets.models)
    columns = ["latency_ms"] if len(names) == 1 else [f"latency_ms_{name}" for name in names]
    subnets = searched.found.frontier
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch", "accuracy", *columns])
        for row, ms in zip(_rows(searched, subnets), subnets.latency_ms.tolist(), strict=True):
            writer.writerow([row["arch"], f"{row['accuracy']:.6g}", *(f"{value:.6g}" for value in ms)])


def _numbers(value: Any, digits: str) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:{digits}}" for name, number in value.items())
    return "-" if value is None else f"{value:{digits}}"


def print_summary(document: dict[str, Any]) -> None:
    """Print for people what was found."""
    for name, target in document["targets"].items():
        file = target.get("lut") or target["model"]
        print(f"latency   {target['latency']} ({file}), on {target['device']} ({name})")
    error = (
        ""
        if document["accuracy_mae"] is None
        else f", mean error {100 * document['accuracy_mae']:.2f} points"
    )
    print(f"accuracy  {document['accuracy_is']} ({document['accuracy']}{error})")
    exact = "exact: " if document["exact"] else ""
    print(
        f"search    {exact}{document['method']}; {document['subnets_evaluated']:,} subnets evaluated in "
        f"{1e3 * document['seconds']:.0f} ms"
    )
    rows = [
        (
            _numbers(row["constraint"], "g"),
            _numbers(row["latency_ms"], ".4g"),
            f"{100 * row['accuracy']:.2f}",
            f"{100 * row['may_miss']:.2f}" if "may_miss" in row else "-",
        )
        for row in document["results"]
    ]
    cli.print_table(
        f"{document['family']}, space {document['space']}",
        ("limit (ms)", "latency (ms)", "accuracy (%)", "may miss (points)"),
        rows,
    )
    for row in document["results"]:
        print(row["arch"])


if __name__ == "__main__":
    sys.exit(main())
