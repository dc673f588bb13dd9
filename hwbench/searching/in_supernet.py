"""Subnets measured in their supernet while a search goes on: files in, what was measured out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compofa.accuracy import Accuracies, Header
from compofa.accuracy.origin import AccuracyOrigin
from compofa.errors import InputError
from compofa.home import home
from compofa.spaces.arch import Arch
from compofa.spaces.space import Space
from hwbench import shipped
from hwbench.accuracy_source import AccuracySource
from hwbench.inputs.trust import insist
from hwbench.measured_accuracies import MeasuredAccuracies, is_measured, load_measured
from hwbench.searching.measuring import Rounds, measure_best
from hwbench.searching.problem import Floats, Problem
from hwbench.telling import note, progress

if TYPE_CHECKING:
    from hwbench.evaluating import Evaluated

COMPARED = ("supernet_sha256", "data", "images", "precision")
"""Of accuracies, what must be the same in those that were there and those that are measured."""


@dataclass(frozen=True)
class InSupernet:
    """A supernet whose subnets a search measures.

    Args:
        supernet: its file.
        file: each accuracy is appended to it at once.
        most: subnets that the file is to hold at most.
        before: accuracies of the same supernet that were there already; none if None.
        accuracies: what the file held when it was opened.
        options: of :func:`hwbench.evaluating.evaluate`.
    """

    supernet: Path
    file: Path
    most: int
    before: MeasuredAccuracies | None
    accuracies: Accuracies
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def header(self) -> Header:
        """What the accuracies are of."""
        return self.accuracies.header

    @property
    def source(self) -> AccuracySource:
        """The accuracies of the answer, all of which will have been measured."""
        sides = self.accuracies.family.resolutions
        return AccuracySource(self.file, "measured", sides, _not_yet, AccuracyOrigin.of(self.header))

    def search(self, problem: Problem, limits: Floats, seed: int) -> tuple[Rounds, dict[str, Any]]:
        """Measure and search (:func:`hwbench.searching.measuring.measure_best`); what came of it, and what it took,
        JSON-ready."""
        done = len(self.accuracies.correct)
        if done:
            note(
                f"{self.file} has {done} subnets already: {max(self.most - done, 0)} more are measured at most"
            )

        def measure(archs: Sequence[Arch]) -> MeasuredAccuracies:
            found = self._evaluate(archs).accuracies
            note(f"{len(found.correct)} of {self.most} subnets measured")
            return self._known(found)

        rounds = measure_best(
            problem, limits, self._known(self.accuracies), measure, max(self.most - done, 0), seed
        )
        return rounds, self._cost(rounds, done)

    def _cost(self, rounds: Rounds, done: int) -> dict[str, Any]:
        now = len(Accuracies.load(self.file).correct) if self.file.exists() else 0
        each = self.header.images + self.header.calibration_images
        return {
            "file": str(self.file),
            "supernet": str(self.supernet),
            "subnets": now,
            "subnets_now": now - done,
            "known_before": 0 if self.before is None else len(self.before.accuracy),
            "images": now * each,
            "images_now": (now - done) * each,
            "rounds": rounds.rounds,
            "stands": rounds.stands,
            "expected_gain": rounds.expected,
        }

    def _evaluate(self, archs: Sequence[Arch]) -> Evaluated:
        from hwbench.evaluating import evaluate

        return evaluate(self.supernet, archs, out=self.file, **self.options, progress=progress)

    def _known(self, found: Accuracies) -> MeasuredAccuracies:
        """All that is known: what the file holds, and what was there before."""
        mine = MeasuredAccuracies(self.file, found.family, *found.arrays(), AccuracyOrigin.of(found.header))
        if self.before is None:
            return mine
        own = {row.tobytes() for row in mine.genotypes.astype(np.int16)}
        new = np.array(
            [row.tobytes() not in own for row in self.before.genotypes.astype(np.int16)], dtype=np.bool_
        )
        others, error = self.before.take(new), None
        if others.standard_error is not None:
            exact = np.sqrt(mine.accuracy * (1 - mine.accuracy) / found.header.images)
            error = np.concatenate([exact, others.standard_error])
        return replace(
            mine,
            genotypes=np.concatenate([mine.genotypes, others.genotypes]),
            accuracy=np.concatenate([mine.accuracy, others.accuracy]),
            standard_error=error,
        )


def _not_yet(genotypes: object) -> Floats:
    raise InputError("these accuracies are being measured: ask the result of the search")


def open_supernet(
    space: Space,
    most: int,
    supernet: Path | None,
    file: Path | None,
    accuracy: Path | None,
    force: bool,
    **options: Any,
) -> InSupernet:
    """A supernet to measure subnets of a space in.

    Args:
        space: whose subnets.
        most: subnets that `file` is to hold at most.
        supernet: None for the shipped one.
        file: to begin or go on with; None for one in the cache folder, named by the supernet.
        accuracy: measured accuracies of the supernet that are there already; None for the shipped ones, of a shipped
            supernet.
        force: take accuracies that are of something else.
        options: of :func:`hwbench.evaluating.evaluate`.

    Raises:
        InputError: the supernet or the accuracies do not fit, or are broken.
        OSError: a file cannot be read.
    """
    from hwbench.evaluating import evaluate

    name = space.family.name
    if supernet is None:
        if name not in shipped.ACCURACY_FAMILIES:
            raise InputError(
                f"no supernet of {name} is shipped: say in which to measure with --supernet FILE"
            )
        supernet = shipped.supernet(name, shipped.recipe_of(space.name))
    options = {"space": space.name, **options}
    header = evaluate(supernet, (), **options).accuracies.header
    if header.family != name:
        raise InputError(f"{supernet} is a supernet of {header.family}, not of {name}")
    file = file or home() / "accuracies" / f"{name}-{header.supernet_sha256[:8]}.accuracy.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    held = evaluate(supernet, (), out=file, **options).accuracies
    return InSupernet(supernet, file, most, _before(accuracy, space, header, force), held, options)


def _before(path: Path | None, space: Space, header: Header, force: bool) -> MeasuredAccuracies | None:
    if path is None:
        try:
            path = shipped.accuracies_of(space.family.name, header.supernet_sha256)
        except InputError:
            return None
    if not is_measured(path):
        raise InputError(
            f"{path} holds no measured accuracies: with --measure, which fits its own predictor, --accuracy is of those"
            " that were measured in the supernet already"
        )
    found = load_measured(path, space.family)
    if differ := found.origin.differences(AccuracyOrigin.of(header), *COMPARED):
        insist(f"{path} cannot be joined with what is measured now: {'; '.join(differ)}", force)
    return found
