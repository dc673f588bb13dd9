"""What a report is made of, from files: tables with their calibrations, accuracies, and what a search adds to them.

Nothing here knows of pages. Tables that must not stand in one picture are put into groups of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from compofa.errors import InputError
from compofa.files import file_sha256
from hwbench.reporting.groups import Device, Group
from hwbench.reporting.subnets import add_spaces, family_of
from lut.calibration import Calibration, calibration_path
from lut.formats import read_table
from lut.model import LatencyModel


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
        spaces: names; :data:`hwbench.reporting.groups.SPACES` unless given.
        seed: of the searches.

    Raises:
        OSError: a file cannot be read.
        InputError: a file is broken, or no table has an entry.
    """
    groups = group_tables(luts)
    taken: set[Path] = set()
    hashes = {file_sha256(path): path for path in supernets}
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
    devices = [_open(path) for path in luts]
    empty = [device.path for device in devices if not device.model.table.entries]
    if len(empty) == len(devices):
        raise InputError(f"{empty[0]} has no entry: finish it with hwbench build_lut")
    found: dict[tuple[str, int, str, int], Group] = {}
    for device in devices:
        if device.path not in empty:
            target, family = device.model.target, device.model.family
            key = (family.name, family.classes, target.precision, target.batch)
            group = found.setdefault(key, Group(family, target.precision, target.batch, []))
            group.devices.append(device)
    groups = list(found.values())
    for group in groups:
        group.devices = _named_apart(group.devices)
    groups[0].notes += [
        f"{path} has no entry and is left out: finish it with hwbench build_lut" for path in empty
    ]
    return groups


def _open(path: Path) -> Device:
    """A table and what lies beside it, as :func:`lut.calibration.load_model` takes them; read once."""
    table = read_table(path)
    beside = calibration_path(path)
    if not (beside.exists() and table.entries):
        return Device(path, table.target.device, LatencyModel(table), None)
    calibration = Calibration.load(beside, table)
    if distrust := calibration.distrust:
        model = LatencyModel(table, caution=f"{beside} is not used: {distrust}")
    elif calibration.model.as_lookup() is None:
        why = "its latencies are no sums over blocks, and this page adds blocks up: it shows the table's plain sums"
        model = LatencyModel(table, caution=f"{beside} is not used: {why}")
    else:
        model = calibration.model
    return Device(path, table.target.device, model, calibration)


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
    return [replace(d, name=name) for d, name in zip(devices, names, strict=True)]
