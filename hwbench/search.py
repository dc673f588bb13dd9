"""``hwbench search``: the most accurate subnet within a latency, or the whole frontier."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compofa.errors import InputError
from hwbench import cli


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
        "--cost",
        choices=("latency", "energy", "macs", "params", "memory"),
        default="latency",
        help="what is traded against accuracy; macs, params and memory need no table",
    )
    p.add_argument(
        "--accuracy",
        type=Path,
        metavar="FILE",
        help="measured accuracies (also a CSV), an accuracy predictor, or OFA's published one (default: the shipped "
        "one)",
    )
    add_promise_arguments(p, recheck=0)
    add_cost_arguments(p)
    add_measuring_arguments(p)
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
    p.excludes("--latency-ms", "--top")
    p.enables("--confidence", "--recheck")
    p.enables("--measure", "--supernet", "--measured", "--data", "--workers")
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
        "repeat it for several targets (default: the best table of the family here, or the shipped one)",
    )
    p.add_argument(
        "--model",
        action="append",
        type=named_file,
        metavar="[NAME=]FILE",
        help="the same by what fit wrote, a model of whole subnets, or by the calibration that validate wrote "
        "beside a table",
    )


def add_promise_arguments(p: cli.Parser, recheck: int) -> None:
    """``--confidence`` and ``--recheck``, by default so many."""
    p.add_argument(
        "--confidence",
        type=cli.fraction,
        metavar="C",
        help="the device keeps --latency-ms with this probability, such as 0.95 (default: limits hold for predictions)",
    )
    p.add_argument(
        "--recheck",
        type=cli.positive_int,
        metavar="N",
        help="with --confidence: measure so many networks of the calibration again first, so that the promise is of "
        f"this hour (default: {recheck or 'none'})",
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


def add_measuring_arguments(p: cli.Parser) -> None:
    """``--measure``, and what goes with it."""
    p.add_argument(
        "--measure",
        type=cli.positive_int,
        metavar="N",
        help="measure up to N subnets in the supernet, those that tell most, search again after each few, and answer "
        "with measured subnets only; --accuracy is then of what was measured in it already",
    )
    p.add_argument(
        "--supernet",
        type=Path,
        metavar="FILE",
        help="with --measure: to measure in (default: the shipped one)",
    )
    p.add_argument(
        "--measured",
        type=Path,
        metavar="FILE",
        help="with --measure: accuracies to begin or go on with, up to N in all (default: a file in the cache folder)",
    )
    p.add_argument("--data", help="with --measure: to measure on (default: what the supernet was trained on)")
    p.add_argument("--workers", type=cli.positive_int, help="with --measure: processes (default: one a core)")


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


def execute(args: argparse.Namespace) -> int:
    """Search and tell."""
    from hwbench.searching.document import write_csv
    from hwbench.searching.run import search

    if args.csv:
        cli.check_writable(args.csv)
    if args.cost != "latency" and (args.latency_ms or args.confidence):
        raise InputError(
            f"--latency-ms and --confidence are of latencies, not of {args.cost}: leave them out, or --cost"
        )
    measuring = {name: getattr(args, name) for name in ("supernet", "measured", "data", "workers")}
    if args.measured:
        cli.check_writable(args.measured)
    costs = read_costs(args)
    result = search(
        costs if args.cost == "latency" else read_cost(args, args.cost),
        latency_ms=read_limits(args.latency_ms, list(costs or ())),
        confidence=args.confidence,
        recheck=args.recheck or 0,
        max_macs=args.max_macs,
        max_params=args.max_params,
        max_memory_mb=args.max_memory_mb,
        space=args.space,
        family=args.family,
        accuracy=args.accuracy,
        seed=args.seed,
        force=args.force,
        measure=args.measure or 0,
        **measuring,
    )
    document = result.to_dict()
    if args.csv:
        write_csv(args.csv, result)
    if args.json:
        cli.emit_json(document)
    else:
        print_summary(document, args.top)
    for reason in result.unmet.values():
        cli.note(f"not met: {reason}")
    return cli.OK


def read_costs(args: argparse.Namespace) -> Mapping[str, object] | None:
    """The files that `args` name, by target; None if they name none.

    Raises:
        InputError: two have one name.
    """
    found: dict[str, object] = {}
    for name, path in [*(args.lut or ()), *(args.model or ())]:
        if name in found:
            raise InputError(f"two targets are called {name!r}: name them, as in --lut A={path}")
        found[name] = path
    return found or None


def read_cost(args: argparse.Namespace, name: str) -> object:
    """The one cost called `name`, of the file that `args` name, if it needs one.

    Raises:
        InputError: a file is given and not needed, or it does not hold that cost.
    """
    from compofa.spaces.registry import get_family
    from hwbench.inputs.costs import open_energy

    given = [*_files(args.lut), *_files(args.model)]
    if name not in ("latency", "energy") and given:
        raise InputError(f"{name} needs no latencies: leave --lut and --model out")
    if len(given) > 1:
        raise InputError("one target at a time: give --lut, or --model, once")
    file = given[0] if given else None
    if name == "energy":
        return open_energy(file, args.family and get_family(args.family), args.force)
    return file if name == "latency" else name


def _files(given: object) -> list[Path]:
    """Of an option that counts once, or of one that may be repeated with names."""
    if isinstance(given, list):
        return [path for _, path in given]
    return [given] if isinstance(given, Path) else []


def read_limits(
    limits: Sequence[tuple[str, float]], targets: Sequence[str]
) -> list[float | Mapping[str, float]]:
    """One search for each limit; for several targets one search that meets all.

    Raises:
        InputError: with several targets one has two limits, or one names none.
    """
    if len(targets) < 2:
        return [{name: limit} if name else limit for name, limit in limits]
    together: dict[str, float] = {}
    for name, limit in limits:
        if not name:
            raise InputError(f"--latency-ms {limit:g}: say of which target, as in {targets[0]}={limit:g}")
        if name in together:
            raise InputError("with several targets give one --latency-ms for each")
        together[name] = limit
    return [together] if together else []


# --- what comes out ---


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
        if "latency" in target:
            file = target.get("lut") or target.get("model")
            print(f"latency   {target['latency']} ({file}), on {target['device']} ({name})")
        else:
            print(f"cost      {target['quantity']}, {target['provenance']}")
    error = (
        ""
        if document["accuracy_mae"] is None
        else f", mean error {100 * document['accuracy_mae']:.2f} points"
    )
    if document["confidence"]:
        print(promise_text(document))
    from compofa.accuracy.origin import AccuracyOrigin

    of = AccuracyOrigin.from_dict(document["accuracy_of"])
    print(f"accuracy  {document['accuracy_is']} ({document['accuracy']}{error}), {of}")
    if document["measuring"]:
        print(measuring_text(document["measuring"]))
    exact = "exact: " if document["exact"] else ""
    print(
        f"search    {exact}{document['method']}; {document['subnets_evaluated']:,} subnets evaluated in "
        f"{1e3 * document['seconds']:.0f} ms"
    )
    results = document["results"]
    whole = all(row["constraint"] is None for row in results)
    shown = [results[i] for i in spread(len(results), top)] if whole else results
    costs = document["costs"]
    if len(document["targets"]) > 1:
        costs = {name: costs[name] for name in ("latency_ms", "promised_ms") if name in costs}
    rows = [
        (
            _numbers(row["constraint"], "g"),
            *(_numbers(row[name], ".4g") for name in costs),
            _per_cent(row["accuracy"]),
            _per_cent(row.get("may_miss")),
        )
        for row in shown
    ]
    sides = ", ".join(map(str, document["resolutions"]))
    at = f", at {sides} px only" if document["resolutions_left_out"] else ""
    cli.print_table(
        f"{document['family']}, space {document['space']}{at}",
        ("limit", *costs.values(), "accuracy (%)", "may miss (points)"),
        rows,
    )
    for row in shown:
        print(row["arch"] or "-")
    if len(shown) < len(results):
        print(
            f"{len(shown)} of the frontier's {len(results):,} subnets; --csv FILE and --json give all, --top N more"
        )


def measuring_text(spent: dict[str, Any]) -> str:
    """What was measured, and whether more is worth while, in two lines."""
    before = f", beside {spent['known_before']:,} known before" if spent["known_before"] else ""
    gain = f"{100 * spent['expected_gain']:.3f} points in the mean"
    more = (
        f"the frontier stands: measuring more is expected to raise it by {gain}"
        if spent["stands"]
        else f"measuring ten more is expected to raise the frontier by {gain}: give a higher --measure"
    )
    return (
        f"measured  {spent['subnets']:,} subnets ({spent['subnets_now']:,} of them now{before}) on {spent['images']:,} "
        f"images in all, in {spent['file']}\n          {more}"
    )


def promise_text(document: dict[str, Any]) -> str:
    """What limits hold for, in a line."""
    paces = [target["pace"] for target in document["targets"].values()]
    when = (
        "now"
        if any(pace != 1 for pace in paces)
        else "as it was when it was validated (--recheck N: as it is now)"
    )
    slower = ", ".join(f"{100 * (pace - 1):+.1f} %" for pace in paces)
    told = f" ({slower} against its validation)" if when == "now" else ""
    return f"promise   kept by the device, {when}{told}, with probability {document['confidence']:g} each"


def _per_cent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"


if __name__ == "__main__":
    sys.exit(main())
