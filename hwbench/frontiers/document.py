"""Frontiers as a document for machines, as rows of a file, and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.files import write_atomically
from hwbench.frontiers.predicted import describe_source

COLUMNS = ("device", "space", "arch", "accuracy", "accuracy_is", "on_frontier")
"""Of the rows, as far as they have them; the cost stands before the accuracy."""

if TYPE_CHECKING:
    from hwbench.frontiers.cloud import Cloud
    from hwbench.frontiers.compare import ParetoResult
    from hwbench.frontiers.spaces import SpaceResult


def describe(result: ParetoResult) -> dict[str, Any]:
    """What was found, JSON-ready."""
    cost, accuracy = result.reference_point
    return {
        "family": result.family.name,
        "cost": result.cost.name,
        **result.cost.describe(result.source.file),
        "target": result.cost.of,
        "lut_is_the_shipped_reference": result.source.shipped,
        "reference_point": {result.cost.name: cost, "accuracy": accuracy},
        "spaces": [_describe_space(result, space) for space in result.spaces],
        "networks": [
            {
                "name": network.name,
                "arch": str(network.arch),
                result.cost.name: cost,
                "accuracy": network.accuracy,
                "accuracy_is": "as stated in the file",
            }
            for network, cost in zip(result.networks, result.networks_cost, strict=True)
        ],
    }


def _describe_space(result: ParetoResult, space: SpaceResult) -> dict[str, Any]:
    return {
        "space": space.name,
        "accuracy_is": space.accuracy_is,
        "supernet": space.supernet,
        "test_images": space.of.images,
        "accuracy_of": space.of.to_dict(),
        "accuracy_words": describe_source(space.source) if space.source else None,
        "subnets_measured": len(space.measured),
        "subnets_that_cannot_run": space.left_out.subnets if space.left_out else 0,
        "enumerated": space.complete,
        "subnets_predicted": len(space.predicted) if space.predicted else 0,
        "hypervolume": result.hypervolumes[space.name],
        "frontier": _frontier(result, space),
        "searched_frontier": _points(result, space.searched),
    }


def _frontier(result: ParetoResult, space: SpaceResult) -> list[dict[str, Any]]:
    """With the intervals of predicted accuracies, where they are known."""
    cloud = space.shown.frontier()
    points = _points(result, cloud)
    if space.source and space.source.has_intervals:
        low, high = space.source.interval(cloud.genotypes)
        for point, *bounds in zip(points, low.tolist(), high.tolist(), strict=True):
            point["accuracy_90_pct"] = bounds
    return points


def _points(result: ParetoResult, cloud: Cloud | None) -> list[dict[str, Any]]:
    return [] if cloud is None else [subnet.to_dict() for subnet in result.subnets(cloud)]


def rows(result: ParetoResult) -> Iterator[dict[str, Any]]:
    """Every subnet: space, arch, accuracy, the cost, whether the accuracy is measured or predicted, and whether the
    subnet is on its space's frontier (1 or 0)."""
    for space in result.spaces:
        best = {str(arch) for arch in space.shown.frontier().archs()}
        clouds = {"measured": space.measured, "predicted": space.predicted}
        for origin, cloud in {**clouds, space.accuracy_is: space.shown}.items():
            # What a search found may be in the random sample, too.
            points = {point["arch"]: point for point in _points(result, cloud)}
            for point in points.values():
                on_frontier = int(origin == space.accuracy_is and point["arch"] in best)
                yield {"space": space.name, **point, "accuracy_is": origin, "on_frontier": on_frontier}


def write_csv(path: Path, cost: str, rows: Iterable[dict[str, Any]]) -> None:
    """The rows of one device or of several, at once; `cost` is the column of what is traded against accuracy."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns: list[str] = []
    for row in rows:
        if not columns:
            columns = [name for name in COLUMNS if name in row]
            columns.insert(columns.index("accuracy"), cost)
            writer.writerow(columns)
        numbers = {name: f"{row[name]:.6g}" for name in (cost, "accuracy")}
        writer.writerow([{**row, **numbers}[name] for name in columns])
    write_atomically(path, text.getvalue())


def draw(path: Path | io.BytesIO, result: ParetoResult) -> None:
    """The picture of the comparison."""
    from hwbench import plots

    series = [
        plots.FrontierSeries(
            name=f"{space.name}, {'all ' if space.complete else ''}{len(space.shown):,} subnets {space.accuracy_is}",
            measured=space.shown.points,
            predicted=space.predicted.points if space.predicted and not space.source else None,
            frontier=space.shown.frontier().points,
            searched=space.searched.points if space.searched and not space.source else None,
            accuracy_is=space.accuracy_is,
        )
        for space in result.spaces
    ]
    plots.draw_frontiers(
        path,
        series=series,
        title=title(result.spaces),
        target=result.cost.of,
        cost=f"{result.cost.label}, {result.cost.provenance}",
        accuracy=accuracy_label(result.spaces),
        networks=[
            plots.NamedPoint(network.name, cost, network.accuracy)
            for network, cost in zip(result.networks, result.networks_cost, strict=True)
        ],
    )


def title(spaces: Sequence[SpaceResult]) -> str:
    """Whose subnets, and what their accuracies are of: the family says how networks are made, not what they look at."""
    family = spaces[0].shown.family.name
    words = dict.fromkeys(_of(space) for space in spaces)
    return f"subnets of {family}: accuracy {'; '.join(words)}"


def accuracy_label(spaces: Sequence[SpaceResult]) -> str:
    """For an axis, with the precision that the subnets computed in: fp32 where a file does not say."""
    precisions = dict.fromkeys(space.of.precision or "fp32" for space in spaces)
    return f"test accuracy (%, {', '.join(precisions)})"


def _of(space: SpaceResult) -> str:
    """What the accuracies of a space are of, as far as their file says."""
    if space.source:
        return f"predicted {space.of}"
    images = f"{space.of.images:,} images" if space.of.images else "images"
    if space.of.data:
        return f"measured on {images} of {space.of.data}"
    return f"measured on {images} that {space.file.name} does not name"
