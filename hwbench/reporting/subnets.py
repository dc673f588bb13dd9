"""The subnets of a group of tables: with measured accuracy, and those that a search finds by predicted accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.origin import AccuracyOrigin
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.errors import HwbenchError, InputError
from compofa.files import file_sha256, parse_json
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes
from compofa.spaces.space import Space, get_space
from hwbench.inputs.accuracies import accuracy_files
from hwbench.inputs.costs import Source
from hwbench.inputs.coverage import covered_resolutions, runnable
from hwbench.measured_accuracies import MeasuredAccuracies, load_measured
from hwbench.reporting.groups import SPACES, Group, SpaceSubnets
from lut.model import LatencyModel


def family_of(path: Path) -> str | None:
    """The family that a file of accuracies says that it is of; None if it says none, as a CSV."""
    from compofa.accuracy.measured import FORMAT

    with path.open("rb") as file:
        first = file.readline(65536)
    if FORMAT.encode() not in first:
        return None
    head = parse_json(first)
    return str(head.get("family")) if isinstance(head, dict) else None


def add_spaces(
    group: Group, given: Sequence[Path], supernets: dict[str, Path], names: Sequence[str], seed: int
) -> None:
    """Give `group` its subnets; what cannot be shown is said in its notes.

    Raises:
        InputError: a space was asked for by name that the family does not have, or the files are as many as neither
            one nor the spaces.
    """
    wanted = [get_space(name, group.family) for name in dict.fromkeys(names)] or _usual_spaces(group.family)
    try:
        files = accuracy_files([space.name for space in wanted], group.family, given)
    except InputError as error:
        if given:
            raise
        group.notes.append(str(error))
        return
    known = {file: load_measured(file, group.family) for file in set(files)}
    for space, file in zip(wanted, files, strict=True):
        try:
            group.spaces.append(subnets_of(group, space, known[file], supernets, seed))
        except InputError as error:
            group.notes.append(f"space {space.name} is left out: {error}")
    group.notes += _differences(group)


def _differences(group: Group) -> list[str]:
    """What keeps accuracies from being compared with each other, or with the latencies, a line each."""
    found = []
    for first, other in pairwise(group.spaces):
        if differ := first.of.differences(other.of, "data", "images", "precision"):
            names = f"{first.space.name} and {other.space.name}"
            found.append(f"the accuracies of {names} cannot be compared: {'; '.join(differ)}")
    for precision in dict.fromkeys(space.of.precision or "fp32" for space in group.spaces):
        if precision != group.precision:
            found.append(
                f"accuracies are of {precision} subnets; the latencies are of {group.precision} ones"
            )
    for classes in dict.fromkeys(space.of.classes for space in group.spaces if space.of.classes):
        if classes != group.family.classes:
            found.append(
                f"accuracies are of networks of {classes} classes, latencies of {group.family.classes}: the classifier "
                f"takes another time (build_lut --classes {classes})"
            )
    return found


def _usual_spaces(family: Family) -> list[Space]:
    found = []
    for name in SPACES:
        try:
            found.append(get_space(name, family))
        except InputError:  # the family lacks what the rule speaks of
            continue
    return found


def subnets_of(
    group: Group, space: Space, everything: MeasuredAccuracies, supernets: dict[str, Path], seed: int
) -> SpaceSubnets:
    """The measured subnets of a space, and the best by predicted accuracy that a search finds on each device.

    Raises:
        InputError: the file holds no subnet of the space.
    """
    mine = everything.inside(space)
    if not len(mine.accuracy):
        raise InputError(f"{everything.path} holds no subnet of it")
    complete = len(mine.accuracy) == space.count(mine.resolutions)
    genotypes, accuracy, error = mine.genotypes, mine.accuracy, None
    if not complete and (searched := _searched(group, space, everything, seed)):
        error = searched[2]
        genotypes = np.vstack([genotypes, searched[0]])
        accuracy = np.concatenate([accuracy, searched[1]])
    return SpaceSubnets(
        space,
        everything.path,
        mine.origin,
        genotypes,
        accuracy,
        len(mine.accuracy),
        complete,
        error,
        _supernet(group, space, mine.origin, supernets),
    )


def _searched(
    group: Group, space: Space, measured: MeasuredAccuracies, seed: int
) -> tuple[Genotypes, NDArray[np.float64], float | None] | None:
    """Subnets on the frontiers of predicted accuracy of all devices, each once and none that was measured; their
    accuracies; the predictor's error. None where there is no predictor or nothing is found."""
    from hwbench.accuracy_source import check_choices, find_predictor

    predictor = find_predictor(measured)
    if predictor is None:
        return None
    found = []
    for device in group.devices:
        try:
            source = Source(device.model, device.path)
            able, _ = runnable(space, source)
            covered = covered_resolutions(able, source)
            if predictor.coverage:
                check_choices(measured.path, predictor.coverage, able)
            found.append(_frontier(able, device.model, predictor, covered, seed))
        except HwbenchError as error:
            group.notes.append(f"space {space.name} is not searched on {device.name}: {error}")
    if not found:
        return None
    genotypes = np.unique(np.vstack(found), axis=0)
    known = {row.tobytes() for row in measured.genotypes}
    genotypes = genotypes[[row.tobytes() not in known for row in genotypes]]
    return genotypes, predictor.predict(genotypes), predictor.report.get("held_out", {}).get("mae")


def _frontier(
    space: Space, model: LatencyModel, predictor: AccuracyPredictor, covered: Sequence[int], seed: int
) -> Genotypes:
    """The whole frontier of predicted accuracies on one device."""
    from hwbench.frontiers.spaces import search_frontier

    known = [r for r in covered if r in predictor.resolutions]
    if not known:
        raise InputError("no accuracy is predicted at the resolutions of the table")
    accuracy = partial(predictor.predict, covered=True)
    return search_frontier(space, model, accuracy, known, seed).genotypes


def _supernet(group: Group, space: Space, of: AccuracyOrigin, given: dict[str, Path]) -> Path | None:
    """The file that the subnets are cut out of: a given or a shipped one of the hash that the accuracies name."""
    from hwbench import shipped

    if of.supernet_sha256 is None:
        return None
    if of.supernet_sha256 in given:
        return given[of.supernet_sha256]
    try:
        path = shipped.supernet(group.family.name, shipped.recipe_of(space.name))
    except InputError:
        return None
    return path if file_sha256(path) == of.supernet_sha256 else None
