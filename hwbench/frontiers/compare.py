"""The subnets of several spaces by accuracy and one cost, measured and predicted."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compofa.accuracy.picked import after_pick
from compofa.errors import InputError
from compofa.spaces.layout import Genotypes, encode
from compofa.spaces.registry import get_family
from compofa.spaces.space import Space, get_space
from hwbench.accuracy_source import AccuracySource, check_choices, find_predictor, open_accuracy
from hwbench.frontiers.cloud import Cloud, Floats
from hwbench.frontiers.predicted import known_resolutions, predicted_cloud, random_genotypes
from hwbench.inputs.accuracies import accuracy_files
from hwbench.inputs.costs import Given, Source, open_source
from hwbench.inputs.coverage import LeftOut, covered_resolutions, runnable
from hwbench.inputs.networks import NamedNetwork, read_networks
from hwbench.inputs.trust import insist, note_differences
from hwbench.measured_accuracies import is_measured, load_measured
from hwbench.searching.engine import search
from hwbench.searching.problem import Problem
from hwbench.shipped import ACCURACY_FAMILIES
from hwbench.subnets import Subnet, to_frame
from hwbench.telling import note
from lut.lookup import MissingEntry

if TYPE_CHECKING:
    from compofa.accuracy.origin import AccuracyOrigin
    from compofa.spaces.family import Family
    from lut.costs import CostModel


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


@dataclass(frozen=True)
class ParetoResult:
    """Frontiers of several spaces by one cost. In a notebook it shows its picture.

    Args:
        family: whose subnets, with the classes of the table.
        source: the cost.
        spaces: what each space has.
        networks: that were given to stand beside them, with the accuracies that somebody states.
        networks_cost: of these, shape (n,).
    """

    family: Family
    source: Source
    spaces: tuple[SpaceResult, ...]
    networks: tuple[NamedNetwork, ...] = ()
    networks_cost: tuple[float, ...] = ()

    @property
    def cost(self) -> CostModel:
        """What is traded against accuracy."""
        return self.source.cost

    @property
    def reference_point(self) -> tuple[float, float]:
        """The most that a subnet of any space costs, and the lowest accuracy of one; of measured subnets where there
        are any."""
        return (
            max(float(space.shown.cost.max()) for space in self.spaces),
            min(float(space.shown.accuracy.min()) for space in self.spaces),
        )

    @property
    def hypervolumes(self) -> dict[str, float]:
        """Of each space's frontier, in the unit of the cost x accuracy, from :attr:`reference_point`."""
        reference = self.reference_point
        return {space.name: space.shown.frontier().hypervolume(reference) for space in self.spaces}

    @property
    def frontiers(self) -> dict[str, list[Subnet]]:
        """Of each space: the subnets that no other beats, by rising cost; of measured accuracy where any was."""
        return {space.name: self.subnets(space.shown.frontier()) for space in self.spaces}

    def subnets(self, cloud: Cloud) -> list[Subnet]:
        """The subnets of a cloud as objects."""
        rows = zip(cloud.archs(), cloud.accuracy.tolist(), cloud.cost.tolist(), strict=True)
        return [Subnet(arch, accuracy, {self.cost.name: cost}) for arch, accuracy, cost in rows]

    def to_frame(self) -> Any:
        """All subnets as a pandas data frame: space, arch, accuracy, the cost, whether the accuracy is measured or
        predicted, and whether it is on its space's frontier."""
        from hwbench.frontiers.document import rows

        return to_frame(rows(self))

    def to_dict(self) -> dict[str, Any]:
        """Frontiers, hypervolumes and where the numbers come from, JSON-ready."""
        from hwbench.frontiers.document import describe

        return describe(self)

    def draw(self, path: str | Path | io.BytesIO, **options: Any) -> None:
        """Draw the picture, a png, svg or pdf."""
        from hwbench.frontiers.document import draw

        draw(path if isinstance(path, io.BytesIO) else Path(path), self, **options)

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.draw(picture)
        return picture.getvalue()

    def __repr__(self) -> str:
        lines = [f"{self.family.name} by {self.cost.label}, {self.cost.of}"]
        for space in self.spaces:
            frontier = space.shown.frontier()
            lines.append(
                f"  {space.name}: {len(frontier)} of {len(space.shown):,} {space.accuracy_is} subnets on the frontier, "
                f"hypervolume {self.hypervolumes[space.name]:.5f} {self.cost.unit} x accuracy"
            )
        return "\n".join(lines)


def pareto(
    cost: Given | None = None,
    *,
    spaces: Sequence[str] = ("compofa", "ofa"),
    family: str | Family | None = None,
    accuracy: str | Path | Sequence[str | Path] | None = None,
    networks: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
) -> ParetoResult:
    """The frontiers of several spaces.

    >>> import hwbench
    >>> fronts = hwbench.pareto(hwbench.reference_table(), spaces=["compofa"])
    >>> fronts.frontiers["compofa"][0].latency_ms < fronts.frontiers["compofa"][-1].latency_ms
    True

    Args:
        cost: a table or model (a path or an object), or a name of :data:`lut.costs.COUNTED`; None for the newest table
            of the family.
        spaces: names.
        family: whose subnets (default: that of the cost, or glyphs).
        accuracy: files of accuracies, one for all spaces or one for each; None for what is shipped.
        networks: a file of networks with stated accuracies, to stand beside the frontiers, see
            :func:`hwbench.inputs.networks.read_networks`.
        seed: of the random subnets with predicted accuracy.
        force: go on with what is not to be trusted or does not belong together.

    Raises:
        InputError: what was given does not belong together, or is broken; says how.
        MissingEntry: the table lacks blocks of a space.
    """
    wanted = get_family(family) if isinstance(family, str) else family
    source = open_source(cost, wanted, force)
    owner = source.cost.family  # with the classes of the table
    if wanted and owner.name != wanted.name:
        what = "model" if source.file and source.file.suffix == ".json" else "table"
        raise InputError(
            f"{source} is a {what} of family {owner.name}, not of {wanted.name}: say --family {owner.name}, or give "
            "another one"
        )
    names = list(dict.fromkeys(spaces))
    given = [accuracy] if isinstance(accuracy, str | Path) else accuracy
    files: Sequence[Path | None] = [None] * len(names)  # what is shipped, predicted
    if given or owner.name in ACCURACY_FAMILIES:
        files = accuracy_files(names, owner, [Path(file) for file in given or ()])
    results = tuple(
        join(get_space(name, owner), source, file, seed, force)
        for name, file in zip(names, files, strict=True)
    )
    check_comparable(results, force)
    note_differences(source.cost, results[0].of)
    return ParetoResult(owner, source, results, *_placed(networks, source))


def _placed(path: str | Path | None, source: Source) -> tuple[tuple[NamedNetwork, ...], tuple[float, ...]]:
    """The networks in a file that the cost knows, and what they cost; says how many it does not know."""
    if path is None:
        return (), ()
    cost = source.cost
    known, costs = [], []
    given = read_networks(Path(path), cost.family)
    for network in given:
        try:
            costs.append(float(cost.predict(encode(cost.family, [network.arch]))[0]))
        except (MissingEntry, InputError):
            continue
        known.append(network)
    if not known:
        raise InputError(f"{source} knows none of the {len(given)} networks of {path}")
    if len(known) < len(given):
        left = len(given) - len(known)
        note(f"{path}: {left} networks have a resolution or blocks that are not known of {source}: left out")
    return tuple(known), tuple(costs)


def join(space: Space, source: Source, file: Path | None, seed: int, force: bool = False) -> SpaceResult:
    """The subnets of a space with measured accuracy, and random ones with predicted accuracy, at the
    resolutions that the cost covers, less those that the target cannot run. Predicted ones only where `file` is a
    predictor, or None, for the shipped one.

    Raises:
        MissingEntry: the table lacks blocks of the space.
        InputError: the file holds no subnet of it at the table's resolutions.
    """
    family, cost = space.family, source.cost
    space, left_out = runnable(space, source)
    covered = covered_resolutions(space, source, force)
    if file is None or not is_measured(file):
        return join_predicted(space, cost, open_accuracy(file, space), covered, seed, left_out)
    everything = load_measured(file, family)
    mine = everything.inside(space, covered)
    if not len(mine.accuracy):
        raise InputError(f"{file} holds no subnet of space {space.name} at {', '.join(map(str, covered))} px")
    measured = Cloud(family, mine.genotypes, cost.predict(mine.genotypes), mine.accuracy)
    complete = len(measured) == space.count(covered)
    predicted = searched = None
    if not complete and (predictor := find_predictor(everything)):
        if predictor.coverage:
            check_choices(file, predictor.coverage, space)
        known = [r for r in covered if r in predictor.resolutions]
        if len(known) < len(covered):
            sides = ", ".join(str(r) for r in covered if r not in known)
            note(f"no accuracy is predicted at {sides} px: the predictor beside {file} was not fitted there")
        if known:
            sample = random_genotypes(space, known, seed)
            predicted = Cloud(family, sample, cost.predict(sample), predictor.predict(sample))
            likely = partial(after_pick, predictor, covered=True)
            searched = search_frontier(space, cost, likely, known, seed)
    return SpaceResult(space.name, mine.origin, file, measured, predicted, searched, complete, left_out)


def join_predicted(
    space: Space,
    cost: CostModel,
    source: AccuracySource,
    covered: Sequence[int],
    seed: int,
    left_out: LeftOut | None,
) -> SpaceResult:
    """The subnets of a space of which none was measured, at the resolutions that the cost covers and the accuracies
    are known at.

    Raises:
        InputError: there is no such resolution.
    """
    known = known_resolutions(source, covered)
    cloud, complete = predicted_cloud(space, cost, source, known, seed)
    searched = None if complete else search_frontier(space, cost, source.after_pick, known, seed)
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
    cost: CostModel,
    accuracy: Callable[[Genotypes], Floats],
    resolutions: Sequence[int],
    seed: int,
) -> Cloud:
    """The whole frontier of predicted accuracies, by :mod:`hwbench.searching.engine`."""
    index = tuple(i for i, r in enumerate(space.family.resolutions) if r in resolutions)
    problem = Problem(space, (cost,), accuracy, index)
    front = search(problem, np.empty((0, 1)), seed).frontier
    return Cloud(space.family, front.genotypes, front.costs[:, 0], front.accuracy)
