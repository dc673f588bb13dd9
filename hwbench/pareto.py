"""``hwbench pareto``: draw and compare accuracy-latency frontiers."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli
from hwbench.sources import (
    accuracy_files,
    covered_resolutions,
    find_predictor,
    find_table,
    load_accuracies,
    load_latency_model,
    load_subnet_latency,
)

if TYPE_CHECKING:
    from compofa.families import Family
    from compofa.spaces import Space
    from hwbench.frontier import Cloud
    from hwbench.subnet_latency import SubnetLatency
    from lut.model import LatencyModel

PREDICTED_SUBNETS = 5_000
"""Random subnets drawn with predicted accuracy, where a space cannot be enumerated."""


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("pareto")
    p.add_argument(
        "--space",
        action="append",
        metavar="SPACE",
        help="ofa, compofa or compofa-elastic; repeat it to compare (default: compofa and ofa)",
    )
    p.add_argument("--family", default="glyphs", help="whose subnets")
    latencies = p.add_mutually_exclusive_group()
    latencies.add_argument(
        "--model", type=Path, metavar="FILE", help="latencies by a model of whole subnets that fit wrote"
    )
    latencies.add_argument(
        "--lut",
        type=Path,
        metavar="FILE",
        help="latencies; calibrated if validate was run on it (default: the newest table of the family, or "
        "the shipped one)",
    )
    p.add_argument(
        "--accuracy",
        action="append",
        type=Path,
        metavar="FILE",
        help="measured accuracies, one file for all spaces or one for each (default: the shipped ones)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the predicted random subnets")
    p.add_argument("--out", type=Path, metavar="PICTURE", help="png, svg or pdf")
    p.add_argument("--csv", type=Path, metavar="FILE", help="every subnet, with its latency and accuracy")
    p.add_argument("--json", action="store_true", help="print frontiers and hypervolumes as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


@dataclass(frozen=True)
class SpaceResult:
    """A space's subnets.

    Args:
        name: of the space.
        supernet: recipe of the supernet that the accuracies were measured in.
        images: test images behind each measured accuracy.
        measured: subnets with measured accuracy, other than those of the spaces inside this one.
        predicted: random subnets with predicted accuracy; None if the space is enumerated or there is no
            predictor.
        searched: the frontier of predicted accuracies that a search found; None likewise.
        complete: every subnet of the space, at the resolutions of the table, is among `measured`.
    """

    name: str
    supernet: str
    images: int
    measured: Cloud
    predicted: Cloud | None
    searched: Cloud | None
    complete: bool


def execute(args: argparse.Namespace) -> int:
    """Join, compare, draw."""
    for path, suffixes in ((args.out, cli.PICTURE_SUFFIXES), (args.csv, ())):
        if path:
            cli.check_writable(path, suffixes)
    from compofa.families import get_family
    from compofa.spaces import get_space

    family = get_family(args.family)
    names = list(dict.fromkeys(args.space or ("compofa", "ofa")))
    for name in names:
        get_space(name, family)
    model: LatencyModel | SubnetLatency
    if args.model:
        lut, is_reference = args.model, False
        model = load_subnet_latency(lut, family)
    else:
        lut, is_reference = find_table(args.lut, family)
        model = load_latency_model(lut, family)
    files = accuracy_files(names, family, args.accuracy)
    results = [
        join(name, family, model, lut, file, args.seed) for name, file in zip(names, files, strict=True)
    ]
    document = describe(results, model, lut, is_reference)
    if args.csv:
        write_csv(args.csv, results)
    if args.out:
        draw(args.out, results, model, family)
        document["picture"] = str(args.out)
    if args.json:
        cli.emit_json(document)
    else:
        print_summary(document, str(model.target))
    return cli.OK


# --- joining ---


def join(
    name: str, family: Family, model: LatencyModel | SubnetLatency, lut: Path, file: Path, seed: int
) -> SpaceResult:
    """The subnets of a space with measured accuracy, and random ones with predicted accuracy, at the
    resolutions that the table covers.

    Raises:
        MissingEntry: the table lacks blocks of the space.
        ValueError: the file holds no subnet of it at the table's resolutions.
    """
    import numpy as np

    from compofa.genotype import encode
    from compofa.spaces import get_space
    from hwbench.frontier import Cloud

    space = get_space(name, family)
    covered = covered_resolutions(model, space, lut)
    accuracies = load_accuracies(file, family)
    archs = [arch for arch in accuracies.correct if arch.resolution in covered and space.contains(arch)]
    if not archs:
        raise InputError(f"{file} holds no subnet of space {name} at {', '.join(map(str, covered))} px")
    genotypes = encode(family, archs)
    measured = Cloud(
        family,
        genotypes,
        model.predict_ms(genotypes),
        np.array([accuracies.accuracy(arch) for arch in archs]),
    )
    complete = len(archs) == space.size() * len(covered)
    predicted = searched = None
    if not complete and (predictor := find_predictor(file, family)):
        rng = np.random.default_rng(seed)
        sample = encode(
            family, [space.sample(rng, int(rng.choice(covered))) for _ in range(PREDICTED_SUBNETS)]
        )
        predicted = Cloud(family, sample, model.predict_ms(sample), predictor.predict(sample))
        searched = search_frontier(space, model, predictor, covered, seed)
    return SpaceResult(
        name, accuracies.header.supernet, accuracies.header.images, measured, predicted, searched, complete
    )


def search_frontier(
    space: Space, model: LatencyModel | SubnetLatency, predictor: Any, resolutions: Sequence[int], seed: int
) -> Cloud:
    """The whole frontier of predicted accuracies, by :mod:`hwbench.searching.engine`."""
    import numpy as np

    from hwbench.frontier import Cloud
    from hwbench.searching.engine import search
    from hwbench.searching.problem import Problem
    from hwbench.subnet_latency import SubnetLatency

    index = tuple(i for i, r in enumerate(space.family.resolutions) if r in resolutions)
    latency = model if isinstance(model, SubnetLatency) else model.lookup
    problem = Problem(space, (latency,), predictor.predict, index)
    front = search(problem, np.empty((0, 1)), seed).frontier
    return Cloud(space.family, front.genotypes, front.latency_ms[:, 0], front.accuracy)


# --- what comes out ---


def reference_point(results: Sequence[SpaceResult]) -> tuple[float, float]:
    """The slowest latency and the lowest accuracy measured in any of the spaces."""
    return (
        max(float(result.measured.latency_ms.max()) for result in results),
        min(float(result.measured.accuracy.min()) for result in results),
    )


def describe(
    results: Sequence[SpaceResult], model: LatencyModel | SubnetLatency, lut: Path, is_reference: bool
) -> dict[str, Any]:
    """What the command found, JSON-ready."""
    reference = reference_point(results)
    return {
        "family": model.family.name,
        **_describe_latency(model, lut, is_reference),
        "reference_point": {"latency_ms": reference[0], "accuracy": reference[1]},
        "spaces": [_describe_space(result, reference) for result in results],
    }


def _describe_latency(model: LatencyModel | SubnetLatency, file: Path, is_reference: bool) -> dict[str, Any]:
    from hwbench.subnet_latency import SubnetLatency

    if isinstance(model, SubnetLatency):
        return model.describe(file)
    return {
        "lut": str(file),
        "lut_is_the_shipped_reference": is_reference,
        "target": model.target.to_dict(),
        "latency": model.provenance,
        "blocks": model.table.origins,
    }


def _describe_space(result: SpaceResult, reference: tuple[float, float]) -> dict[str, Any]:
    frontier = result.measured.frontier()
    return {
        "space": result.name,
        "supernet": result.supernet,
        "test_images": result.images,
        "subnets_measured": len(result.measured),
        "enumerated": result.complete,
        "subnets_predicted": len(result.predicted) if result.predicted else 0,
        "hypervolume": frontier.hypervolume(reference),
        "frontier": _describe_points(frontier),
        "searched_frontier": _describe_points(result.searched),
    }


def _describe_points(cloud: Cloud | None) -> list[dict[str, Any]]:
    return [{"arch": arch, "latency_ms": ms, "accuracy": accuracy} for arch, ms, accuracy in _rows(cloud)]


def write_csv(path: Path, results: Sequence[SpaceResult]) -> None:
    """Every subnet as a row: space, arch, latency_ms, accuracy, whether that is measured or predicted, and
    whether it is on its space's measured frontier."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["space", "arch", "latency_ms", "accuracy", "accuracy_is", "on_frontier"])
        for result in results:
            best = {str(arch) for arch in result.measured.frontier().archs()}
            for origin, cloud in (("measured", result.measured), ("predicted", result.predicted)):
                for arch, ms, accuracy in _rows(cloud):
                    on_frontier = int(origin == "measured" and arch in best)
                    writer.writerow([result.name, arch, f"{ms:.6g}", f"{accuracy:.6g}", origin, on_frontier])


def _rows(cloud: Cloud | None) -> list[tuple[str, float, float]]:
    if cloud is None:
        return []
    return list(zip(map(str, cloud.archs()), cloud.latency_ms.tolist(), cloud.accuracy.tolist(), strict=True))


def draw(
    path: Path, results: Sequence[SpaceResult], model: LatencyModel | SubnetLatency, family: Family
) -> None:
    """The picture of the comparison."""
    from hwbench import plots
    from hwbench.subnet_latency import SubnetLatency

    series = [
        plots.FrontierSeries(
            name=f"{result.name}, {'all' if result.complete else ''} {len(result.measured):,} subnets measured".replace(
                ",  ", ", "
            ),
            measured=result.measured.points,
            predicted=result.predicted.points if result.predicted else None,
            frontier=result.measured.frontier().points,
            searched=result.searched.points if result.searched else None,
        )
        for result in results
    ]
    if isinstance(model, SubnetLatency):
        latency = model.provenance
    else:
        latency = "calibrated table" if model.calibrated else "table sum, not calibrated"
        latency += "" if model.table.origin == "measured" else f", {model.table.provenance}"
    plots.draw_frontiers(
        path,
        series=series,
        title=f"{family.name}: accuracy measured on {results[0].images:,} unseen images",
        target=str(model.target),
        latency=latency,
    )


def print_summary(document: dict[str, Any], target: str) -> None:
    """Print for people what was found."""
    reference = document["reference_point"]
    print(f"target   {target}")
    print(f"latency  {document['latency']} ({document.get('lut') or document['model']})")
    rows = []
    for space in document["spaces"]:
        frontier = space["frontier"]
        rows.append(
            (
                space["space"],
                space["supernet"].removeprefix(document["family"] + "-"),
                f"{space['subnets_measured']:,}" + (" (all)" if space["enumerated"] else ""),
                str(len(frontier)),
                f"{frontier[0]['latency_ms']:.3f} - {frontier[-1]['latency_ms']:.3f}",
                f"{100 * frontier[0]['accuracy']:.1f} - {100 * frontier[-1]['accuracy']:.1f}",
                f"{space['hypervolume']:.5f}",
            )
        )
    cli.print_table(
        f"frontiers; hypervolume in ms x accuracy from ({reference['latency_ms']:.3f} ms, "
        f"{100 * reference['accuracy']:.1f} %)",
        ("space", "supernet", "measured", "frontier", "latency (ms)", "accuracy (%)", "hypervolume"),
        rows,
    )
    if document.get("picture"):
        print(f"picture  {document['picture']}")


if __name__ == "__main__":
    sys.exit(main())
