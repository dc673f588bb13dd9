"""Where the accuracies of a search come from: measured ones, a predictor, or OFA's published predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy import FORMAT, Accuracies
from compofa.accuracy_predictor import AccuracyPredictor
from compofa.errors import InputError
from compofa.families import Family
from compofa.genotype import Genotypes
from compofa.published_accuracy import load_published
from compofa.spaces import Space
from hwbench import cli, shipped
from hwbench.sources import find_predictor, load_accuracies

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AccuracySource:
    """Accuracies of the subnets of a family.

    Args:
        path: the file that they come from.
        origin: ``measured`` or ``predicted``.
        resolutions: that they are known at, in pixels.
        predict: accuracies (n,) as fractions, of genotypes (n, 1 + slots).
        error: mean absolute error on held-out subnets, if known.
    """

    path: Path
    origin: str
    resolutions: tuple[int, ...]
    predict: Callable[[Genotypes], Floats]
    error: float | None = None


def open_accuracy(path: Path | None, space: Space) -> AccuracySource:
    """The accuracies in `path`, whatever kind of file it is, or those that are shipped for `space`.

    Measured accuracies serve as they are if they hold all of the space; else the predictor that lies beside
    them, or one that is fitted to them.

    Raises:
        ValueError: the file is of another family, or nothing that is known; or none is shipped.
        OSError: it cannot be read.
    """
    family = space.family
    path = path or _shipped(space)
    if path.read_bytes()[:200].find(FORMAT.encode()) >= 0:
        return _from_measured(path, space)
    return _from_predictor(path, _load_predictor(path, family), family)


def _shipped(space: Space) -> Path:
    name = space.family.name
    if name in shipped.ACCURACY_FAMILIES and space.name != "compofa":
        return shipped.predictor(name)
    return shipped.accuracies(name, space.name)


def _load_predictor(path: Path, family: Family) -> AccuracyPredictor:
    """Our own predictor or a published one, told apart by what is in the file."""
    try:
        return AccuracyPredictor.load(path)
    except ValueError:
        return load_published(family, path)


def _from_predictor(path: Path, predictor: AccuracyPredictor, family: Family) -> AccuracySource:
    if predictor.family.name != family.name:
        raise InputError(
            f"{path} predicts accuracies of family {predictor.family.name}, not of {family.name}"
        )
    error = predictor.report.get("held_out", {}).get("mae")
    return AccuracySource(path, "predicted", predictor.resolutions, predictor.predict, error)


def _from_measured(path: Path, space: Space) -> AccuracySource:
    family = space.family
    accuracies = load_accuracies(path, family)
    mine = sum(space.contains(arch) for arch in accuracies.correct)
    if mine == space.size() * len(family.resolutions):
        return AccuracySource(path, "measured", family.resolutions, _lookup(accuracies))
    if predictor := find_predictor(path, family):
        return _from_predictor(path, predictor, family)
    _check_choices(path, accuracies, space)
    cli.note(f"{path} holds {mine} subnets of space {space.name}, not all: fitting a predictor to them")
    return _from_predictor(path, AccuracyPredictor.fit(family, *accuracies.arrays()), family)


def _check_choices(path: Path, accuracies: Accuracies, space: Space) -> None:
    """Raise ValueError unless every choice of every slot was measured in some subnet: a predictor knows nothing
    of the others."""
    genotypes, _ = accuracies.arrays()
    depth = space.family.max_depth
    for slot in range(space.family.slots):
        wanted = set(space.unit_genotypes(slot // depth)[:, slot % depth].tolist())
        if missing := wanted - set(genotypes[:, 1 + slot].tolist()):
            raise InputError(
                f"{path} holds no subnet with {len(missing)} of the choices that space {space.name} has in unit "
                f"{1 + slot // depth}: measure more with hwbench evaluate --space {space.name} --sample N"
            )


def _lookup(accuracies: Accuracies) -> Callable[[Genotypes], Floats]:
    genotypes, accuracy = accuracies.arrays()
    # Rows compare as bytes, which is all that finding them needs.
    keys = _keys(genotypes)
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
