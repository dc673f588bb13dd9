"""What a report is made of, from files: tables with their calibrations, accuracies, and what a search adds to them.

Nothing here knows of pages. Tables that must not stand in one picture are put into groups of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy_origin import AccuracyOrigin
from compofa.errors import HwbenchError, InputError
from compofa.files import parse_json
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes
from compofa.spaces.space import Space, get_space
from hwbench.measured_accuracies import MeasuredAccuracies, load_measured
from hwbench.sources import covered_resolutions, runnable
from lut.calibration import Calibration, calibration_path, load_model
from lut.model import LatencyModel

SPACES = ("compofa", "ofa")
"""That are shown unless others are asked for."""


@dataclass(frozen=True)
class Device:
    """A table.

    Args:
        path: as given.
        name: that tells it from the others of its group.
        model: its latencies, calibrated where the calibration is to be trusted.
        calibration: the networks measured beside it; None if there are none.
    """

    path: Path
    name: str
    model: LatencyModel
    calibration: Calibration | None


@dataclass(frozen=True)
class SpaceSubnets:
    """The subnets of a space that are shown.

    Args:
        space: whose.
        file: of the accuracies.
        of: what those are of.
        genotypes: measured ones first, shape (n, columns).
        accuracy: fractions, shape (n,).
        measured: how many were measured; the others have predicted accuracy.
        complete: every subnet of the space was measured.
        error: mean absolute error of predicted accuracies on held-out subnets; None if it is not known.
        supernet: the supernet's file; None if it was not given and is not shipped.
    """

    space: Space
    file: Path
    of: AccuracyOrigin
    genotypes: Genotypes
    accuracy: NDArray[np.float64]
    measured: int
    complete: bool
    error: float | None
    supernet: Path | None


@dataclass
class Group:
    """Tables that may be compared: of one family, precision and batch.

    Args:
        family: with the classes of the tables.
        precision: number format of the latencies.
        batch: images in one run.
        devices: the tables.
        spaces: the subnets; empty where no accuracy is known.
        notes: what is left out, and why, in lines.
    """

    family: Family
    precision: str
    batch: int
    devices: list[Device]
    spaces: list[SpaceSubnets] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """For people: ``glyphs, fp32, batch 1``."""
        classes = get_classes(self.family)
        return f"{self.family.name}{classes}, {self.precision}, batch {self.batch}"


def get_classes(family: Family) -> str:
    """``, 10 classes`` where they are not the family's own, else nothing."""
    from compofa.spaces.registry import get_family

    return "" if family.classes == get_family(family.name).classes else f", {family.classes} classes"


def gather(
    luts: Sequence[Path],
    accuracies: Sequence[Path] = (),
    supernets: Sequence[Path] = (),
    spaces: Sequence[str] = (),
    seed: int = 0,
) -> list[Group]:
    """Everything that the files say, in groups that may be compared.

    Args:
        luts: tables of blocks.
        accuracies: measured ones; of a family for which none is given, the shipped ones are taken.
        supernets: files that subnets are cut out of, told apart by their hash.
        spaces: names; :data:`SPACES` unless given.
        seed: of the searches.

    Raises:
        OSError: a file cannot be read.
        InputError: a file is broken, or no table has an entry.
    """
    groups = group_tables(luts)
    taken: set[Path] = set()
    hashes = {sha256_of(path): path for path in supernets}
    for group in groups:
        mine = [path for path in accuracies if family_of(path) in (None, group.family.name)]
        taken.update(mine)
        add_spaces(group, mine, hashes, spaces, seed)
    if unused := [path for path in accuracies if path not in taken]:
        raise InputError(
            f"{unused[0]} holds accuracies of family {family_of(unused[0])}, of which no table is given"
        )
    return groups


# --- tables ---


def group_tables(luts: Sequence[Path]) -> list[Group]:
    """The tables, those apart that must not be compared; a table without entries is named in the first group's notes.

    Raises:
        InputError: none has an entry, or one is given twice.
    """
    if len({path.resolve() for path in luts}) < len(luts):
        raise InputError("a table is given twice with --lut: give each once")
    models = {path: load_model(path) for path in luts}
    empty = [path for path, model in models.items() if not model.table.entries]
    kept = {path: model for path, model in models.items() if path not in empty}
    if not kept:
        raise InputError(f"{empty[0]} has no entry: finish it with hwbench build_lut")
    found: dict[tuple[str, int, str, int], Group] = {}
    for path, model in kept.items():
        target, family = model.target, model.family
        key = (family.name, family.classes, target.precision, target.batch)
        group = found.setdefault(key, Group(family, target.precision, target.batch, []))
        group.devices.append(_device(path, model))
    groups = list(found.values())
    for group in groups:
        group.devices = _named_apart(group.devices)
    groups[0].notes += [
        f"{path} has no entry and is left out: finish it with hwbench build_lut" for path in empty
    ]
    return groups


def _device(path: Path, model: LatencyModel) -> Device:
    beside = calibration_path(path)
    calibration = Calibration.load(beside, model.table) if beside.exists() else None
    return Device(path, model.target.device, model, calibration)


def _named_apart(devices: list[Device]) -> list[Device]:
    """With names that say in what they differ, where two are of one device; the file's name if in nothing."""
    names = [device.name for device in devices]
    for more in (
        lambda d: f"{d.model.target.device}, {d.model.target.backend}",
        lambda d: f"{d.model.target.device}, {d.model.target.backend}, {d.model.target.threads} threads",
        lambda d: f"{d.model.target.device} ({d.path.name})",
        lambda d: f"{d.model.target.device} ({d.path})",
    ):
        names = [more(d) if names.count(n) > 1 else n for d, n in zip(devices, names, strict=True)]
    return [Device(d.path, name, d.model, d.calibration) for d, name in zip(devices, names, strict=True)]


# --- accuracies ---


def family_of(path: Path) -> str | None:
    """The family that a file of accuracies says that it is of; None if it says none, as a CSV."""
    from compofa.accuracy import FORMAT

    with path.open("rb") as file:
        first = file.readline(65536)
    if FORMAT.encode() not in first:
        return None
    head = parse_json(first)
    return str(head.get("family")) if isinstance(head, dict) else None


def sha256_of(path: Path) -> str:
    """Of a file."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add_spaces(
    group: Group, given: Sequence[Path], supernets: dict[str, Path], names: Sequence[str], seed: int
) -> None:
    """Give `group` its subnets; what cannot be shown is said in its notes.

    Raises:
        InputError: a space was asked for by name that the family does not have, or the files are as many as neither
            one nor the spaces.
    """
    from hwbench.sources import accuracy_files

    wanted = [get_space(name, group.family) for name in dict.fromkeys(names)] or _usual_spaces(group.family)
    try:
        files = accuracy_files([space.name for space in wanted], group.family, given)
    except InputError as error:
        if given:
            raise
        group.notes.append(str(error))
        return
    for space, file in zip(wanted, files, strict=True):
        try:
            group.spaces.append(subnets_of(group, space, file, supernets, seed))
        except InputError as error:
            group.notes.append(f"space {space.name} is left out: {error}")
    for other in group.spaces[1:]:
        first = group.spaces[0]
        if differ := first.of.differences(other.of, "data", "images", "precision"):
            group.notes.append(
                f"the accuracies of {first.space.name} and {other.space.name} cannot be compared: {'; '.join(differ)}"
            )


def _usual_spaces(family: Family) -> list[Space]:
    found = []
    for name in SPACES:
        try:
            found.append(get_space(name, family))
        except InputError:  # the family lacks what the rule speaks of
            continue
    return found


def subnets_of(group: Group, space: Space, file: Path, supernets: dict[str, Path], seed: int) -> SpaceSubnets:
    """The measured subnets of a space, and the best by predicted accuracy that a search finds on each device.

    Raises:
        InputError: the file holds no subnet of the space.
    """
    everything = load_measured(file, group.family)
    mine = everything.inside(space)
    if not len(mine.accuracy):
        raise InputError(f"{file} holds no subnet of it")
    complete = len(mine.accuracy) == space.count(mine.resolutions)
    genotypes, accuracy, error = mine.genotypes, mine.accuracy, None
    if not complete and (searched := _searched(group, space, everything, seed)):
        error = searched[2]
        genotypes = np.vstack([genotypes, searched[0]])
        accuracy = np.concatenate([accuracy, searched[1]])
    return SpaceSubnets(
        space,
        file,
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
            able, _ = runnable(space, device.model, device.path)
            covered = covered_resolutions(device.model, able, device.path)
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
    space: Space, model: LatencyModel, predictor: object, covered: Sequence[int], seed: int
) -> Genotypes:
    """The whole frontier of predicted accuracies on one device, by :mod:`hwbench.searching.engine`."""
    from functools import partial

    from compofa.accuracy_predictor import AccuracyPredictor
    from hwbench.searching.engine import search
    from hwbench.searching.problem import Problem

    assert isinstance(predictor, AccuracyPredictor)
    known = [r for r in covered if r in predictor.resolutions]
    index = tuple(i for i, r in enumerate(space.family.resolutions) if r in known)
    if not index:
        raise InputError("no accuracy is predicted at the resolutions of the table")
    problem = Problem(space, (model.lookup,), partial(predictor.predict, covered=True), index)
    return search(problem, np.empty((0, 1)), seed).frontier.genotypes


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
    return path if sha256_of(path) == of.supernet_sha256 else None
