"""``hwbench search``: the most accurate subnet within a latency, or the whole frontier."""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.accuracy.origin import AccuracyOrigin
from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    import numpy as np

    from compofa.spaces.space import Space
    from hwbench.accuracy_source import AccuracySource
    from hwbench.searching.additive import Additive
    from hwbench.searching.engine import Found
    from hwbench.searching.problem import Evaluated, Problem
    from hwbench.sources import LeftOut
    from hwbench.subnet_latency import SubnetLatency
    from lut.costs import Cost
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
    p.add_argument("--family", type=cli.family, help="whose subnets (default: the table's, or glyphs)")
    add_latency_arguments(p)
    p.add_argument(
        "--accuracy",
        type=Path,
        metavar="FILE",
        help="measured accuracies (also a CSV), an accuracy predictor, or OFA's published one (default: the shipped "
        "one)",
    )
    add_cost_arguments(p)
    p.add_argument("--seed", type=cli.seed, default=0, help="of the subnets that are tried")
    p.add_argument(
        "--top",
        type=cli.positive_int,
        default=20,
        metavar="N",
        help="without limits: print so many of the frontier's subnets, from the fastest to the most accurate",
    )
    p.add_argument("--csv", type=Path, metavar="FILE", help="the frontier of all subnets looked at")
    add_force_argument(p)
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


def add_cost_arguments(p: cli.Parser) -> None:
    """``--max-macs``, ``--max-params`` and ``--max-memory-mb``."""
    p.add_argument("--max-macs", type=cli.positive_number, metavar="M", help="most MACs, in millions")
    p.add_argument("--max-params", type=cli.positive_number, metavar="M", help="most parameters, in millions")
    p.add_argument(
        "--max-memory-mb",
        type=cli.positive_number,
        metavar="MB",
        help="most memory for activations at once, at the table's precision and batch",
    )


def add_force_argument(p: cli.Parser) -> None:
    """``--force``."""
    p.add_argument(
        "--force",
        action="store_true",
        help="go on with what is not to be trusted or does not belong together",
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
        constraints: limits by the name of the target (in ms) or cost, one for each search.
        found: the answer.
        seconds: that the search took, reading files left out.
        left_out: by target name, what its device cannot run; those of which something is left out.
        costs: that are limited besides latencies; in the problem they come after these.
        memory_mb: most memory for activations, if that is limited.
    """

    problem: Problem
    targets: Targets
    accuracy: AccuracySource
    constraints: list[dict[str, float]]
    found: Found
    seconds: float
    left_out: dict[str, LeftOut]
    costs: tuple[Cost, ...] = ()
    memory_mb: float | None = None


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
        print_summary(document, args.top)
    for reason in searched.found.unmet.values():
        cli.note(f"not met: {reason}")
    return cli.OK


def run_search(
    args: argparse.Namespace,
    supernet_sha256: str | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Searched:
    """The search that `args` describe.

    Args:
        args: of the command.
        supernet_sha256: of the file whose subnets are searched; accuracies of another one are refused.
        clock: in seconds.
    """
    from compofa.spaces.space import get_space
    from hwbench.accuracy_source import open_accuracy
    from hwbench.searching import engine
    from hwbench.sources import note_differences, runnable
    from lut.costs import MACS, PARAMS, within_memory

    targets = load_targets(args.lut, args.model, args.family, args.force)
    space = get_space(args.space, next(iter(targets.models.values())).family)
    left_out: dict[str, LeftOut] = {}
    for name, model in targets.models.items():
        space, lost = runnable(space, model, targets.files[name])
        left_out |= {name: lost} if lost else {}
    if args.max_memory_mb:
        space = within_memory(space, args.max_memory_mb, *_format_of(targets))
    accuracy = open_accuracy(args.accuracy, space)
    if supernet_sha256:
        check_supernet(accuracy, supernet_sha256, space.name, args.force)
    for model in targets.models.values():
        note_differences(model, accuracy.of)
    problem = make_problem(space, targets, accuracy, args.force)
    constraints = read_constraints(args.latency_ms, list(targets.models))
    limited = {cost: most for cost, most in ((MACS, args.max_macs), (PARAMS, args.max_params)) if most}
    if limited:
        lookups = (cost.lookup(space.family) for cost in limited)
        units = (*("ms" for _ in targets.models), *(cost.words for cost in limited))
        problem = replace(problem, latencies=(*problem.latencies, *lookups), units=units)
        more = {cost.name: most for cost, most in limited.items()}
        constraints = [{**constraint, **more} for constraint in constraints or [{}]]
    names = [*targets.models, *(cost.name for cost in limited)]
    start = clock()
    found = engine.search(problem, limits_of(constraints, problem, names), args.seed)
    seconds = clock() - start
    return Searched(
        problem, targets, accuracy, constraints, found, seconds, left_out, tuple(limited), args.max_memory_mb
    )


def _format_of(targets: Targets) -> tuple[str, int]:
    """Precision and batch of the targets, for what memory holds; of a model of whole subnets, which does not say, fp32
    and one image.

    Raises:
        InputError: targets differ in them.
    """
    from hwbench.subnet_latency import SubnetLatency

    models = targets.models.values()
    found = {
        ("fp32", 1) if isinstance(model, SubnetLatency) else (model.target.precision, model.target.batch)
        for model in models
    }
    if len(found) > 1:
        raise InputError(
            "--max-memory-mb with targets of different precision or batch: search them one by one"
        )
    return found.pop()


def check_supernet(accuracy: AccuracySource, sha256: str, space: str, force: bool) -> None:
    """Refuse accuracies that were measured in another supernet, unless forced.

    Raises:
        InputError: they are of another one; says how to measure its own.
    """
    from hwbench.sources import insist

    found = accuracy.of.supernet_sha256
    if found is None:
        cli.note(f"{accuracy.path} does not say which supernet its accuracies are of: taken for this one's")
    elif found != sha256:
        advice = MEASURE_ITS_OWN.replace("SPACE", space)
        insist(
            f"{accuracy.path} holds accuracies {accuracy.of}, not of this one ({sha256[:12]}): {advice}",
            force,
        )


MEASURE_ITS_OWN = (
    "measure its own with hwbench evaluate --supernet FILE --space SPACE --sample 500 --out own.accuracy.jsonl, and "
    "give --accuracy own.accuracy.jsonl"
)


# --- what is asked ---


def load_targets(
    luts: Sequence[tuple[str, Path]] | None,
    models: Sequence[tuple[str, Path]] | None,
    family: str | None,
    force: bool = False,
) -> Targets:
    """The latency models, all of one family.

    Raises:
        ValueError: two have one name, or they are of different families; or a file is broken.
    """
    from compofa.spaces.registry import get_family
    from hwbench.sources import find_table, trusted_model
    from hwbench.subnet_latency import SubnetLatency

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
        model = SubnetLatency.load(path) if (name, path) in fitted else trusted_model(path, force)
        targets.models[name], targets.files[name] = model, path
        _check_family(targets, name, family)
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


def make_problem(space: Space, targets: Targets, accuracy: AccuracySource, force: bool = False) -> Problem:
    """The search problem, at all resolutions that the tables cover and the accuracies are known at; says which are
    left out.

    Raises:
        MissingEntry: a table lacks blocks of the space; names the first.
        ValueError: there is no resolution in common.
    """
    from hwbench.searching.problem import Problem
    from hwbench.sources import covered_resolutions
    from hwbench.subnet_latency import SubnetLatency

    common = set(accuracy.resolutions)
    if unknown := [r for r in space.family.resolutions if r not in common]:
        sides = ", ".join(map(str, unknown))
        cli.note(f"{accuracy.path} says nothing of {sides} px: subnets of these resolutions are left out")
    for name, model in targets.models.items():
        common &= set(covered_resolutions(model, space, targets.files[name], force))
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

    slots = np.where(np.isfinite(latency.slots), latency.slots, 0.0)  # not known, or cannot run
    return float(np.nanmax(latency.fixed) + slots.max(axis=(0, 2)).sum())


# --- what comes out ---


def describe(searched: Searched) -> dict[str, Any]:
    """What the command found, JSON-ready."""
    found, names = searched.found, list(searched.targets.models)
    frontier = _rows(searched, found.frontier)
    answers = zip(_rows(searched, found.best), found.may_miss.tolist(), strict=True)
    results = []
    for i, constraint in enumerate(searched.constraints):
        alone = len(names) == 1 and list(constraint) == names
        limit = constraint[names[0]] if alone else constraint
        if i in found.unmet:
            results.append({"constraint": limit, **NO_SUBNET, "unmet": found.unmet[i]})
        else:
            row, miss = next(answers)
            results.append({"constraint": limit, **row, "may_miss": miss})
    family = searched.problem.space.family
    return {
        "space": searched.problem.space.name,
        "family": family.name,
        "resolutions": (kept := [family.resolutions[i] for i in searched.problem.resolutions]),
        "resolutions_left_out": [r for r in family.resolutions if r not in kept],
        "cannot_run": {
            name: {
                "blocks": {str(block): reason for block, reason in lost.blocks.items()},
                "subnets": lost.subnets,
                "of": lost.of,
            }
            for name, lost in searched.left_out.items()
        },
        "method": found.method,
        "exact": found.exact,
        "targets": {
            name: describe_latency(model, searched.targets.files[name])
            for name, model in searched.targets.models.items()
        },
        "accuracy": str(searched.accuracy.path),
        "accuracy_is": searched.accuracy.origin,
        "accuracy_mae": searched.accuracy.error,
        "accuracy_of": searched.accuracy.of.to_dict(),
        "surrogate_residual": found.residual,
        "subnets_evaluated": found.evaluations,
        "seconds": searched.seconds,
        "costs": {cost.name: cost.words for cost in searched.costs},
        "max_memory_mb": searched.memory_mb,
        "results": results or [{"constraint": None, **row} for row in frontier],
        "frontier": frontier,
    }


NO_SUBNET = {"arch": None, "accuracy": None, "latency_ms": None, "may_miss": None}


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
    from compofa.spaces.layout import decode

    names = list(searched.targets.models)
    archs = decode(searched.problem.space.family, subnets.genotypes)
    return [
        {
            "arch": str(arch),
            "accuracy": float(accuracy),
            "latency_ms": dict(zip(names, ms, strict=False)) if len(names) > 1 else ms[0],
            **dict(zip((cost.name for cost in searched.costs), ms[len(names) :], strict=True)),
        }
        for arch, accuracy, ms in zip(archs, subnets.accuracy, subnets.latency_ms.tolist(), strict=True)
    ]


def write_csv(path: Path, searched: Searched) -> None:
    """The frontier as rows, at once: arch, accuracy, whether that is measured or predicted, and the latency on each
    target."""
    from compofa.files import write_atomically

    names = list(searched.targets.models)
    columns = ["latency_ms"] if len(names) == 1 else [f"latency_ms_{name}" for name in names]
    columns += [cost.name for cost in searched.costs]
    subnets = searched.found.frontier
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arch", "accuracy", "accuracy_is", *columns])
    for row, ms in zip(_rows(searched, subnets), subnets.latency_ms.tolist(), strict=True):
        numbers = [f"{value:.6g}" for value in ms]
        writer.writerow([row["arch"], f"{row['accuracy']:.6g}", searched.accuracy.origin, *numbers])
    write_atomically(path, text.getvalue())


def _numbers(value: Any, digits: str) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:{digits}}" for name, number in value.items())
    return "-" if value is None else f"{value:{digits}}"


def spread(count: int, top: int) -> list[int]:
    """At most `top` of so many places, evenly spread, the first and the last among them; of one, the last."""
    if count <= top:
        return list(range(count))
    if top == 1:
        return [count - 1]
    return [round(i * (count - 1) / (top - 1)) for i in range(top)]


def print_summary(document: dict[str, Any], top: int) -> None:
    """Print for people what was found; of a frontier `top` subnets."""
    for name, target in document["targets"].items():
        file = target.get("lut") or target["model"]
        print(f"latency   {target['latency']} ({file}), on {target['device']} ({name})")
    error = (
        ""
        if document["accuracy_mae"] is None
        else f", mean error {100 * document['accuracy_mae']:.2f} points"
    )
    of = AccuracyOrigin.from_dict(document["accuracy_of"])
    print(f"accuracy  {document['accuracy_is']} ({document['accuracy']}{error}), {of}")
    exact = "exact: " if document["exact"] else ""
    print(
        f"search    {exact}{document['method']}; {document['subnets_evaluated']:,} subnets evaluated in "
        f"{1e3 * document['seconds']:.0f} ms"
    )
    results = document["results"]
    whole = all(row["constraint"] is None for row in results)
    shown = [results[i] for i in spread(len(results), top)] if whole else results
    rows = [
        (
            _numbers(row["constraint"], "g"),
            _numbers(row["latency_ms"], ".4g"),
            *(_numbers(row.get(name), ".4g") for name in document["costs"]),
            _per_cent(row["accuracy"]),
            _per_cent(row.get("may_miss")),
        )
        for row in shown
    ]
    sides = ", ".join(map(str, document["resolutions"]))
    at = f", at {sides} px only" if document["resolutions_left_out"] else ""
    cli.print_table(
        f"{document['family']}, space {document['space']}{at}",
        (
            "limit" if document["costs"] else "limit (ms)",
            "latency (ms)",
            *document["costs"].values(),
            "accuracy (%)",
            "may miss (points)",
        ),
        rows,
    )
    for row in shown:
        print(row["arch"] or "-")
    if len(shown) < len(results):
        print(
            f"{len(shown)} of the frontier's {len(results):,} subnets; --csv FILE and --json give all, --top N more"
        )


def _per_cent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"


if __name__ == "__main__":
    sys.exit(main())
