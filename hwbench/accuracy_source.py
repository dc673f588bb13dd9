"""Where the accuracies of a search come from: measured ones, a predictor, or OFA's published predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy import picked
from compofa.accuracy.fitting import fit_predictor
from compofa.accuracy.origin import AccuracyOrigin
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.accuracy.predictor_file import NoPredictor
from compofa.accuracy.published import load_published
from compofa.errors import InputError
from compofa.spaces.coverage import Coverage
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes
from compofa.spaces.space import Space
from hwbench import cli, shipped
from hwbench.measured_accuracies import MeasuredAccuracies, is_measured, load_measured

Floats = NDArray[np.float64]
PREDICTOR, ACCURACY = ".predictor.safetensors", ".accuracy.jsonl"


@dataclass(frozen=True)
class AccuracySource:
    """Accuracies of the subnets of a family.

    Args:
        path: the file that they come from.
        origin: ``measured`` or ``predicted``.
        resolutions: that they are known at, in pixels.
        predict: accuracies (n,) as fractions, of genotypes (n, 1 + slots).
        of: what they are of, as far as the file says.
        error: mean absolute error on held-out subnets, if known.
        predictor: that `predict` asks, if they are predicted.
    """

    path: Path
    origin: str
    resolutions: tuple[int, ...]
    predict: Callable[[Genotypes], Floats]
    of: AccuracyOrigin
    error: float | None = None
    predictor: AccuracyPredictor | None = None

    @property
    def has_intervals(self) -> bool:
        """Whether :meth:`interval` and :meth:`lower_bound` can be asked."""
        return self.predictor is not None and self.predictor.intervals is not None

    def after_pick(self, genotypes: Genotypes) -> Floats:
        """The accuracy (n,) to expect of each subnet if it is picked by this number, as a search does: the measured
        one, or the predicted one less what such a pick is flattered by (:mod:`compofa.accuracy.picked`)."""
        if self.predictor is None:
            return self.predict(genotypes)
        return picked.after_pick(self.predictor, genotypes, covered=True)

    def interval(
        self, genotypes: Genotypes, coverage: float = 0.9, after_pick: bool = True
    ) -> tuple[Floats, Floats]:
        """Between which the accuracy of each subnet lies with that probability: lowest and highest (n,), as fractions.

        Args:
            genotypes: shape (n, columns).
            coverage: the probability.
            after_pick: they were picked by :meth:`after_pick`; else like the measured ones.

        Raises:
            InputError: they are measured, or the predictor does not say how sure it is.
        """
        if self.predictor is None:
            raise InputError(f"{self.path} holds measured accuracies: they have no interval of prediction")
        if after_pick:
            return picked.interval_after_pick(self.predictor, genotypes, coverage, covered=True)
        return self.predictor.interval(genotypes, coverage, covered=True)

    def lower_bound(self, genotypes: Genotypes, confidence: float) -> Floats:
        """Above which the accuracy of a picked subnet lies with that probability (n,); a measured one as it is.

        Raises:
            InputError: the predictor does not say how sure it is, or `confidence` is not between 0.5 and 1.
        """
        if self.predictor is None:
            return self.predict(genotypes)
        return picked.lower_bound(self.predictor, genotypes, confidence, covered=True)


def open_accuracy(path: Path | None, space: Space) -> AccuracySource:
    """The accuracies in `path`, whatever kind of file it is, or those that are shipped for `space`.

    Measured accuracies serve as they are if they hold all of the space at the resolutions that they are of; else
    the predictor that lies beside them, or one that is fitted to them.

    Raises:
        ValueError: the file is of another family, or nothing that is known, or says nothing of choices that the
            space has; or none is shipped.
        OSError: it cannot be read.
    """
    path = path or _shipped(space)
    if is_measured(path):
        return _from_measured(load_measured(path, space.family), space)
    return _from_predictor(path, _load_predictor(path, space.family), space)


def _shipped(space: Space) -> Path:
    name = space.family.name
    measured = name in shipped.ACCURACY_FAMILIES
    if measured and space.name == "compofa":
        return shipped.accuracies(name, space.name)
    if not measured and space.name != "ofa" and name in shipped.PREDICTED_FAMILIES:
        cli.note(
            f"accuracies of space {space.name} are predicted as in OFA's supernet: a supernet that CompOFA's recipe "
            "trained is another, and of its accuracies on this task nothing is known here"
        )
    return shipped.predictor(name)


def _load_predictor(path: Path, family: Family) -> AccuracyPredictor:
    """Our own predictor or a published one, told apart by what is in the file."""
    try:
        return AccuracyPredictor.load(path)
    except NoPredictor:
        return load_published(family, path)


def _from_predictor(path: Path, predictor: AccuracyPredictor, space: Space) -> AccuracySource:
    if predictor.family.name != space.family.name:
        raise InputError(
            f"{path} predicts accuracies of family {predictor.family.name}, not of {space.family.name}"
        )
    if predictor.coverage:
        check_choices(path, predictor.coverage, space)
    # All of the space is covered: not asked again, for the search also asks for what is no subnet.
    predict = partial(predictor.predict, covered=True)
    error = predictor.mae
    return AccuracySource(
        path, "predicted", predictor.resolutions, predict, predictor.origin, error, predictor
    )


def _from_measured(measured: MeasuredAccuracies, space: Space) -> AccuracySource:
    path, family = measured.path, space.family
    mine = measured.inside(space)
    if len(mine.accuracy) and len(mine.accuracy) == space.count(mine.resolutions):
        return AccuracySource(path, "measured", mine.resolutions, _lookup(mine), measured.origin)
    if predictor := find_predictor(measured):
        return _from_predictor(path, predictor, space)
    check_choices(path, Coverage.of(family, measured.genotypes), space)
    cli.note(
        f"{path} holds {len(mine.accuracy)} subnets of space {space.name}, not all: fitting a predictor to them"
    )
    try:
        fitted = fit_predictor(
            family,
            measured.genotypes,
            measured.accuracy,
            origin=measured.origin,
            standard_error=measured.standard_error,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return _from_predictor(path, fitted, space)


def check_choices(path: Path, coverage: Coverage, space: Space) -> None:
    """Raise InputError unless every choice of `space` that can run is covered: a predictor knows nothing of the
    others."""
    used = space.used_choices()
    used[:, 1:] &= np.any(space.runs[:, :, 1:], axis=0)
    if choice := coverage.lacks_of_space(used):
        raise InputError(
            f"{path} holds no subnet with {choice}, as space {space.name} has: search a narrower --space, or measure "
            f"more with hwbench evaluate --space {space.name} --sample N"
        )


def find_predictor(measured: MeasuredAccuracies) -> AccuracyPredictor | None:
    """The predictor beside a file of accuracies: ``x.accuracy.jsonl`` has ``x.predictor.safetensors``; or None.

    Raises:
        InputError: it is of other accuracies.
    """
    name = measured.path.name
    path = measured.path.with_name(name.removesuffix(ACCURACY) + PREDICTOR)
    if not name.endswith(ACCURACY) or not path.is_file():
        return None
    predictor = AccuracyPredictor.load(path)
    if predictor.family.name != measured.family.name:
        raise InputError(
            f"{path} predicts accuracies of family {predictor.family.name}, not of {measured.family.name}"
        )
    if differ := predictor.origin.differences(measured.origin, "supernet", "supernet_sha256", "data"):
        raise InputError(
            f"{path} was fitted to other accuracies than those of {measured.path} ({'; '.join(differ)}): remove it, "
            "and a predictor is fitted anew"
        )
    if predictor.origin == AccuracyOrigin():
        cli.note(f"{path} does not say which accuracies it was fitted to: taken for those of {name}")
    return predictor


def _lookup(measured: MeasuredAccuracies) -> Callable[[Genotypes], Floats]:
    accuracy = measured.accuracy
    # Rows compare as bytes, which is all that finding them needs.
    keys = _keys(measured.genotypes)
    order = np.argsort(keys)
    keys, accuracy = keys[order], accuracy[order]

    def predict(genotypes: Genotypes) -> Floats:
        place = np.minimum(np.searchsorted(keys, wanted := _keys(genotypes)), len(keys) - 1)
        if (keys[place] != wanted).any():
            raise InputError("the accuracy of some subnets was not measured")
        return accuracy[place]

    return predict


def _keys(genotypes: Genotypes) -> NDArray[np.bytes_]:
    rows = np.ascontiguousarray(genotypes.astype(np.uint8) + 1)  # no zeros: NumPy drops them at the end
    return rows.view(f"S{rows.shape[1]}").ravel()
