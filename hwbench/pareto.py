"""``hwbench pareto``: draw and compare accuracy-latency frontiers."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from compofa.files import write_atomically
from hwbench import cli
from hwbench.search import add_force_argument
from hwbench.sources import (
    accuracy_files,
    covered_resolutions,
    find_table,
    insist,
    load_latency_model,
    load_subnet_latency,
    note_differences,
    runnable,
)

if TYPE_CHECKING:
    from compofa.accuracy.origin import AccuracyOrigin
    from compofa.spaces.family import Family
    from compofa.spaces.space import Space
    from hwbench.frontier import Cloud
    from hwbench.sources import LeftOut
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
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose subnets")
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
        help="measured accuracies (also a CSV), one file for all spaces or one for each (default: the shipped ones)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the predicted random subnets")
    p.add_argument("--out", type=Path, metavar="PICTURE", help="png, svg or pdf")
    p.add_argument("--csv", type=Path, metavar="FILE", help="every subnet, with its latency and accuracy")
    p.add_argument("--json", action="store_true", help="print frontiers and hypervolumes as JSON")
    add_force_argument(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


@dataclass(frozen=True)
class SpaceResult:
    """A space's subnets.

    Args:
        name: of the space.
        of: what the accuracies are of.
        file: that they come from.
        measured: subnets with measured accuracy, other than those of the spaces inside this one.
        predicted: random subnets with predicted accuracy; None if the space is enumerated or there is no
            predictor.
        searched: the frontier of predicted accuracies that a search found; None likewise.
        complete: every subnet of the space that can run, at the resolutions of the table, is among `measured`.
        left_out: what the target cannot run; None if it can run all.
    """

    name: str
    of: AccuracyOrigin
    file: Path
    measured: Cloud
    predicted: Cloud | None
    searched: Cloud | None
    complete: bool
    left_out: LeftOut | None

    @property
    def supernet(self) -> str:
        """The recipe that trained the supernet, or, where that is not known, the file of the accuracies."""
        return self.of.supernet or self.file.name


def execute(args: argparse.Namespace) -> int:
    """Join, compare, draw."""
    for path, suffixes in ((args.out, cli.PICTURE_SUFFIXES), (args.csv, ())):
        if path:
            cli.check_writable(path, suffixes)
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space

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
        model = load_latency_model(lut, family, args.force)
    family = model.family  # with the classes of the table
    files = accuracy_files(names, family, args.accuracy)
    results = [
        join(name, family, model, lut, file, args.seed, args.force)
        for name, file in zip(names, files, strict=True)
    ]
    check_comparable(results, args.force)
    note_differences(model, results[0].of)
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
    name: str,
    family: Family,
    model: LatencyModel | SubnetLatency,
    lut: Path,
    file: Path,
    seed: int,
    force: bool = False,
) -> SpaceResult:
    """The subnets of a space with measured accuracy, and random ones with predicted accuracy, at the
    resolutions that the table covers, less those that the target cannot run.

    Raises:
        MissingEntry: the table lacks blocks of the space.
        ValueError: the file holds no subnet of it at the table's resolutions.
    """
    import numpy as np

    from compofa.spaces.layout import encode
    from compofa.spaces.space import get_space
    from hwbench.accuracy_source import check_choices, find_predictor
    from hwbench.frontier import Cloud
    from hwbench.measured_accuracies import load_measured

    space, left_out = runnable(get_space(name, family), model, lut)
    covered = covered_resolutions(model, space, lut, force)
    everything = load_measured(file, family)
    mine = everything.inside(space, covered)
    if not len(mine.accuracy):
        raise InputError(f"{file} holds no subnet of space {name} at {', '.join(map(str, covered))} px")
    measured = Cloud(family, mine.genotypes, model.predict_ms(mine.genotypes), mine.accuracy)
    complete = len(measured) == space.count(covered)
    predicted = searched = None
    if not complete and (predictor := find_predictor(everything)):
        if predictor.coverage:
            check_choices(file, predictor.coverage, space)
        known = [r for r in covered if r in predictor.resolutions]
        if len(known) < len(covered):
            sides = ", ".join(str(r) for r in covered if r not in known)
            cli.note(
                f"no accuracy is predicted at {sides} px: the predictor beside {file} was not fitted there"
            )
        if known:
            rng = np.random.default_rng(seed)
            drawn = [space.sample(rng, int(rng.choice(known))) for _ in range(PREDICTED_SUBNETS)]
            sample = encode(family, drawn)
            predicted = Cloud(family, sample, model.predict_ms(sample), predictor.predict(sample))
            searched = search_frontier(space, model, predictor, known, seed)
    return SpaceResult(name, mine.origin, file, measured, predicted, searched, complete, left_out)


def check_comparable(results: Sequence[SpaceResult], force: bool) -> None:
    """Refuse accuracies on different images in one picture, unless forced.

    Raises:
        InputError: two files are of different test splits, or numbers of images, or precisions.
    """
    first, *others = results
    for other in others:
        if differ := first.of.differences(other.of, "data", "images", "precision"):
            insist(
                f"the accuracies of {first.name} ({first.file}) and of {other.name} ({other.file}) cannot be compared: "
                f"{'; '.join(differ)}",
                force,
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
    problem = Problem(space, (latency,), partial(predictor.predict, covered=True), index)
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
        "test_images": result.of.images,
        "accuracy_of": result.of.to_dict(),
        "subnets_measured": len(result.measured),
        "subnets_that_cannot_run": result.left_out.subnets if result.left_out else 0,
        "enumerated": result.complete,
        "subnets_predicted": len(result.predicted) if result.predicted else 0,
        "hypervolume": frontier.hypervolume(reference),
        "frontier": _describe_points(frontier),
        "searched_frontier": _describe_points(result.searched),
    }


def _describe_points(cloud: Cloud | None) -> list[dict[str, Any]]:
    return [{"arch": arch, "latency_ms": ms, "accuracy": accuracy} for arch, ms, accuracy in _rows(cloud)]


def write_csv(path: Path, results: Sequence[SpaceResult]) -> None:
    """Every subnet as a row, at once: space, arch, latency_ms, accuracy, whether that is measured or predicted, and
    whether it is on its space's measured frontier."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["space", "arch", "latency_ms", "accuracy", "accuracy_is", "on_frontier"])
    for result in results:
        best = {str(arch) for arch in result.measured.frontier().archs()}
        for origin, cloud in (("measured", result.measured), ("predicted", result.predicted)):
            for arch, ms, accuracy in _rows(cloud):
                on_frontier = int(origin == "measured" and arch in best)
                writer.writerow([result.name, arch, f"{ms:.6g}", f"{accuracy:.6g}", origin, on_frontier])
    write_atomically(path, text.getvalue())


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
        title=f"{family.name}: accuracy measured on {_images(results)}",
        target=str(model.target),
        latency=latency,
    )


def _images(results: Sequence[SpaceResult]) -> str:
    """What the accuracies of all spaces were measured on, as far as the files say."""
    known = dict.fromkeys((r.of.images, r.of.data) for r in results if r.of.images)
    words = [
        f"{images:,} unseen images" + (f" of {data}" if len(known) > 1 else "") for images, data in known
    ]
    return " and ".join(words) or "images that the file does not name"


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
