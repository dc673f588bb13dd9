"""``hwbench pareto``: draw and compare accuracy-latency frontiers."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from compofa.files import write_atomically
from hwbench import cli
from hwbench.search import add_force_argument
from hwbench.shipped import ACCURACY_FAMILIES
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
    from compofa.spaces.layout import Genotypes
    from compofa.spaces.space import Space
    from hwbench.accuracy_source import AccuracySource
    from hwbench.frontier import Cloud, Floats
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
        help="accuracies, measured (also a CSV) or a predictor, one file for all spaces or one for each (default: the "
        "shipped ones)",
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
        complete: every subnet of the space that can run, at the resolutions of the table, is among `measured`, or among
            `predicted` where none was measured.
        left_out: what the target cannot run; None if it can run all.
        source: of predicted accuracies, where none was measured.
    """

    name: str
    of: AccuracyOrigin
    file: Path
    measured: Cloud
    predicted: Cloud | None
    searched: Cloud | None
    complete: bool
    left_out: LeftOut | None
    source: AccuracySource | None = None

    @property
    def shown(self) -> Cloud:
        """What the frontier is drawn of: measured subnets, or, where none was measured, predicted ones."""
        if self.source is None or self.predicted is None:
            return self.measured
        return self.predicted.join(self.searched) if self.searched else self.predicted

    @property
    def accuracy_is(self) -> str:
        """Whether the accuracies of the frontier are measured or predicted."""
        return "measured" if self.source is None else "predicted"

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
    files: Sequence[Path | None] = [None] * len(names)  # what is shipped, predicted
    if args.accuracy or family.name in ACCURACY_FAMILIES:
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
    file: Path | None,
    seed: int,
    force: bool = False,
) -> SpaceResult:
    """The subnets of a space with measured accuracy, and random ones with predicted accuracy, at the
    resolutions that the table covers, less those that the target cannot run. Predicted ones only where `file` is a
    predictor, or None, for the shipped one.

    Raises:
        MissingEntry: the table lacks blocks of the space.
        ValueError: the file holds no subnet of it at the table's resolutions.
    """
    import numpy as np

    from compofa.spaces.layout import encode
    from compofa.spaces.space import get_space
    from hwbench.accuracy_source import check_choices, find_predictor, open_accuracy
    from hwbench.frontier import Cloud
    from hwbench.measured_accuracies import is_measured, load_measured

    space, left_out = runnable(get_space(name, family), model, lut)
    covered = covered_resolutions(model, space, lut, force)
    if file is None or not is_measured(file):
        return join_predicted(space, model, open_accuracy(file, space), covered, seed, left_out)
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
            searched = search_frontier(space, model, partial(predictor.predict, covered=True), known, seed)
    return SpaceResult(name, mine.origin, file, measured, predicted, searched, complete, left_out)


def join_predicted(
    space: Space,
    model: LatencyModel | SubnetLatency,
    source: AccuracySource,
    covered: Sequence[int],
    seed: int,
    left_out: LeftOut | None,
) -> SpaceResult:
    """The subnets of a space of which none was measured, at the resolutions that the table covers and the accuracies
    are known at.

    Raises:
        InputError: there is no such resolution.
    """
    import numpy as np

    from hwbench.predicted_frontier import known_resolutions, predicted_cloud

    known = known_resolutions(source, covered)
    cloud, complete = predicted_cloud(space, model.predict_ms, source, known, seed)
    searched = None if complete else search_frontier(space, model, source.after_pick, known, seed)
    none = cloud.take(np.arange(0))
    return SpaceResult(space.name, source.of, source.path, none, cloud, searched, complete, left_out, source)


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
    space: Space,
    model: LatencyModel | SubnetLatency,
    accuracy: Callable[[Genotypes], Floats],
    resolutions: Sequence[int],
    seed: int,
) -> Cloud:
    """The whole frontier of predicted accuracies, by :mod:`hwbench.searching.engine`."""
    import numpy as np

    from hwbench.frontier import Cloud
    from hwbench.searching.engine import search
    from hwbench.searching.problem import Problem
    from hwbench.subnet_latency import SubnetLatency

    index = tuple(i for i, r in enumerate(space.family.resolutions) if r in resolutions)
    latency = model if isinstance(model, SubnetLatency) else model.lookup
    problem = Problem(space, (latency,), accuracy, index)
    front = search(problem, np.empty((0, 1)), seed).frontier
    return Cloud(space.family, front.genotypes, front.latency_ms[:, 0], front.accuracy)


# --- what comes out ---


def reference_point(results: Sequence[SpaceResult]) -> tuple[float, float]:
    """The slowest latency and the lowest accuracy in any of the spaces, of measured subnets where there are any."""
    return (
        max(float(result.shown.latency_ms.max()) for result in results),
        min(float(result.shown.accuracy.min()) for result in results),
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
    from hwbench.predicted_frontier import describe_source

    frontier = result.shown.frontier()
    return {
        "space": result.name,
        "accuracy_is": result.accuracy_is,
        "supernet": result.supernet,
        "test_images": result.of.images,
        "accuracy_of": result.of.to_dict(),
        "accuracy_words": describe_source(result.source) if result.source else None,
        "subnets_measured": len(result.measured),
        "subnets_that_cannot_run": result.left_out.subnets if result.left_out else 0,
        "enumerated": result.complete,
        "subnets_predicted": len(result.predicted) if result.predicted else 0,
        "hypervolume": frontier.hypervolume(reference),
        "frontier": _describe_points(frontier, result.source),
        "searched_frontier": _describe_points(result.searched),
    }


def _describe_points(cloud: Cloud | None, source: AccuracySource | None = None) -> list[dict[str, Any]]:
    points = [{"arch": arch, "latency_ms": ms, "accuracy": accuracy} for arch, ms, accuracy in _rows(cloud)]
    if cloud and source and source.has_intervals:
        low, high = source.interval(cloud.genotypes)
        for point, *bounds in zip(points, low.tolist(), high.tolist(), strict=True):
            point["accuracy_90_pct"] = bounds
    return points


def write_csv(path: Path, results: Sequence[SpaceResult]) -> None:
    """Every subnet as a row, at once: space, arch, latency_ms, accuracy, whether that is measured or predicted, and
    whether it is on its space's measured frontier."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["space", "arch", "latency_ms", "accuracy", "accuracy_is", "on_frontier"])
    for result in results:
        best = {str(arch) for arch in result.shown.frontier().archs()}
        for origin, cloud in (("measured", result.measured), ("predicted", result.predicted)):
            for arch, ms, accuracy in _rows(cloud):
                on_frontier = int(origin == result.accuracy_is and arch in best)
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
            name=f"{result.name}, {'all' if result.complete else ''} {len(result.shown):,} subnets "
            f"{result.accuracy_is}".replace(",  ", ", "),
            measured=result.shown.points,
            predicted=result.predicted.points if result.predicted and not result.source else None,
            frontier=result.shown.frontier().points,
            searched=result.searched.points if result.searched and not result.source else None,
            accuracy_is=result.accuracy_is,
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
        title=_title(family, results),
        target=str(model.target),
        latency=latency,
    )


def _title(family: Family, results: Sequence[SpaceResult]) -> str:
    if not any(result.source for result in results):
        return f"{family.name}: accuracy measured on {_images(results)}"
    words = dict.fromkeys(f"accuracy predicted {r.of}" for r in results if r.source)
    return f"{family.name}: {'; '.join(words)}"


def _images(results: Sequence[SpaceResult]) -> str:
    """What the accuracies of all spaces were measured on, as far as the files say."""
    known = dict.fromkeys((r.of.images, r.of.data) for r in results if r.of.images)
    words = [
        f"{images:,} unseen images" + (f" of {data}" if len(known) > 1 else "") for images, data in known
    ]
    return " and ".join(words) or "images that the file does not name"


def _columns(document: dict[str, Any]) -> str:
    """What the numbers of subnets are of."""
    return " or ".join(dict.fromkeys(space["accuracy_is"] for space in document["spaces"]))


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
                f"{space['subnets_' + space['accuracy_is']]:,}" + (" (all)" if space["enumerated"] else ""),
                str(len(frontier)),
                f"{frontier[0]['latency_ms']:.3f} - {frontier[-1]['latency_ms']:.3f}",
                f"{100 * frontier[0]['accuracy']:.1f} - {100 * frontier[-1]['accuracy']:.1f}",
                f"{space['hypervolume']:.5f}",
            )
        )
    cli.print_table(
        f"frontiers; hypervolume in ms x accuracy from ({reference['latency_ms']:.3f} ms, "
        f"{100 * reference['accuracy']:.1f} %)",
        ("space", "supernet", _columns(document), "frontier", "latency (ms)", "accuracy (%)", "hypervolume"),
        rows,
    )
    for words in dict.fromkeys(space["accuracy_words"] for space in document["spaces"]):
        if words:
            print(f"accuracy {words}")
    if document.get("picture"):
        print(f"picture  {document['picture']}")


if __name__ == "__main__":
    sys.exit(main())
