"""The subnets of one space by accuracy and one cost, measured and predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compofa.accuracy.picked import after_pick
from compofa.errors import InputError
from compofa.spaces.layout import Genotypes
from compofa.spaces.space import Space
from hwbench.accuracy_source import AccuracySource, check_choices, find_predictor, open_accuracy
from hwbench.frontiers.cloud import Cloud, Floats
from hwbench.frontiers.predicted import known_resolutions, predicted_cloud, random_genotypes
from hwbench.inputs.costs import Source
from hwbench.inputs.coverage import LeftOut, covered_resolutions, runnable
from hwbench.inputs.trust import insist
from hwbench.measured_accuracies import is_measured, load_measured
from hwbench.searching.engine import search
from hwbench.searching.problem import Problem
from hwbench.telling import note

if TYPE_CHECKING:
    from compofa.accuracy.origin import AccuracyOrigin
    from lut.costs import CostModel


@dataclass(frozen=True)
class SpaceResult:
    """A space's subnets.

    Args:
        name: of the space.
        of: what the accuracies are of.
        file: that they come from.
        measured: subnets with measured accuracy, those of the spaces inside this one among them.
        predicted: subnets with predicted accuracy: random ones, or, where none was measured, all of a
            small space; None if all were measured, or there is no predictor.
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
