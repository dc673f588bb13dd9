"""Where a command's latencies and accuracies come from: given files, the newest table, or what is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    from compofa.accuracy.origin import AccuracyOrigin
    from compofa.blocks import Block
    from compofa.spaces.family import Family
    from compofa.spaces.space import Space
    from hwbench.subnet_latency import SubnetLatency
    from lut.model import LatencyModel
    from lut.table import Table

WARNED_OF = ("noisy", "implausible", "another machine")
"""Doubts about a table that a command tells, see :mod:`lut.trust`; what is missing or cannot run, it says otherwise."""


def find_table(given: Path | None, family: Family) -> tuple[Path, bool]:
    """The table to use, and whether it is the shipped one.

    Raises:
        ValueError: none was given or built, and none is shipped for the family.
    """
    from backends.machine.host import cpu_name
    from hwbench import shipped
    from lut.trust import choose_table

    if given:
        return given, False
    if choice := choose_table(family, cpu_name()):
        if choice.why:
            cli.note(f"latencies of {choice.path}, {choice.why}")
        return choice.path, False
    try:
        path = shipped.reference_table(family.name)
    except ValueError:
        raise InputError(
            f"no table of {family.name}: build one with hwbench build_lut --family {family.name}, or give --lut FILE"
        ) from None
    cli.note("no table was built on this machine: these are the latencies of the shipped reference table")
    return path, True


def load_latency_model(lut: Path, family: Family, force: bool = False) -> LatencyModel:
    """:func:`trusted_model` of a table of `family`.

    Raises:
        ValueError: the table is broken, or of another family.
    """
    from lut.formats import read_table

    found = read_table(lut).family.name
    if found != family.name:
        raise InputError(
            f"{lut} is a table of family {found}, not of {family.name}: say --family {found}, or give another --lut"
        )
    return trusted_model(lut, force)


def load_subnet_latency(path: Path, family: Family) -> SubnetLatency:
    """The model that ``hwbench fit`` wrote.

    Raises:
        ValueError: the file is broken, or of another family.
    """
    from hwbench.subnet_latency import SubnetLatency

    model = SubnetLatency.load(path)
    if model.family.name != family.name:
        raise InputError(f"{path} is a model of family {model.family.name}, not of {family.name}")
    return model


@dataclass(frozen=True)
class LeftOut:
    """What a space loses on a target that cannot run some of its blocks.

    Args:
        blocks: that cannot run, and why.
        subnets: that have one of them.
        of: so many, at the resolutions of the table.
    """

    blocks: dict[Block, str]
    subnets: int
    of: int


def runnable(space: Space, model: LatencyModel | SubnetLatency, path: Path) -> tuple[Space, LeftOut | None]:
    """`space` less the subnets with a block that the target of a table cannot run, and what that costs; says so.

    Raises:
        CannotRun: nothing is left.
    """
    from backends.base import CannotRun
    from hwbench.subnet_latency import SubnetLatency

    if isinstance(model, SubnetLatency):
        return space, None
    table = model.table
    failed = {block: table.failures[block] for block in space.all_blocks() if block in table.failures}
    if not failed:
        return space, None
    kept = space.without(failed)
    sides = [r for r in space.resolutions if r in _table_resolutions(table, space)]
    total = space.count(sides)
    left_out = LeftOut(failed, total - kept.count(sides), total)
    (block, reason), device = next(iter(failed.items())), table.target.device
    words = f"{len(failed)} blocks of space {space.name} cannot run on {device}, the first being {block} ({reason})"
    if not kept.count(sides):
        raise CannotRun(f"{path}: {words}: no subnet is left")
    cli.note(
        f"{path}: {words}: {_count(left_out.subnets)} of {_count(total)} subnets have one and are left out"
    )
    return kept, left_out


def _count(number: int) -> str:
    return f"{number:,}" if number < 1e9 else f"{float(number):.3g}"


def _table_resolutions(table: Table, space: Space) -> set[int]:
    """At which the table was built, or knows every block of `space`."""
    return {*table.complete_resolutions(space), *table.header.resolutions}


def covered_resolutions(
    model: LatencyModel | SubnetLatency, space: Space, path: Path, force: bool = False
) -> tuple[int, ...]:
    """The resolutions that a model of subnets was fitted at, or that a table was built for, at which it must know
    every block of `space` that can run; says so if they are not all that the family has.

    Raises:
        MissingEntry: it lacks blocks there; names the first and says how many.
        InputError: a model of subnets was fitted to none with some choice of the space, and `force` is false.
    """
    from hwbench.subnet_latency import SubnetLatency
    from lut.lookup import MissingEntry

    if isinstance(model, SubnetLatency):
        if choice := model.lacks(space):
            insist(
                f"{path} was fitted to no subnet with {choice}, as space {space.name} has: measure some and fit again",
                force,
            )
        return model.covered_resolutions(path)
    table, family = model.table, space.family
    if not table.entries:
        raise MissingEntry(f"{path} has no entry: finish it with hwbench build_lut")
    wanted = _table_resolutions(table, space).intersection(space.resolutions)
    covered = tuple(resolution for resolution in family.resolutions if resolution in wanted)
    missing = [block for block in space.all_blocks(covered) if block not in table.entries] if covered else []
    if missing:
        raise MissingEntry(
            f"{path} lacks {len(missing)} blocks of space {space.name}, the first being {missing[0]}: "
            f"add them with hwbench build_lut --space {space.name}"
        )
    if len(covered) < len(family.resolutions):
        sides = ", ".join(map(str, covered))
        cli.note(f"{path} covers {sides} px only: subnets of other resolutions are left out")
    return covered


# --- what is to be trusted ---


def insist(doubt: str, force: bool) -> None:
    """Refuse because of a doubt, or, with `force`, go on and say so.

    Raises:
        InputError: `force` is false.
    """
    if not force:
        raise InputError(f"{doubt} (--force goes on all the same)")
    cli.note(f"warning: {doubt}")


def trusted_model(path: Path, force: bool = False) -> LatencyModel:
    """The table's model, calibrated if it was validated and the calibration is worth something; says what is not
    calibrated or not to be trusted, and what to do.

    Raises:
        ValueError: the table or its calibration is broken.
    """
    from backends.machine.host import cpu_name
    from lut.calibration import load_model
    from lut.trust import doubts

    model = load_model(path)
    if model.caution and force:
        cli.note(f"warning: {model.caution.replace('is not used', 'is used all the same')}")
        model = load_model(path, force)
    elif model.caution:
        cli.note(f"{model.caution}; latencies are plain sums (--force uses it)")
    elif not model.calibrated:
        cli.note(f"{path} is not calibrated: latencies are plain sums; run hwbench validate --lut {path}")
    for doubt in doubts(model.table, cpu_name()):
        if doubt.kind in WARNED_OF:
            cli.note(f"warning: {path}: {doubt.text}")
    return model


def note_differences(model: LatencyModel | SubnetLatency, of: AccuracyOrigin) -> None:
    """Say so where latencies are of another number format, or of another number of classes, than accuracies."""
    from hwbench.subnet_latency import SubnetLatency

    if isinstance(model, SubnetLatency):
        return
    note_classes(model, of.classes)
    accuracies = of.precision or "fp32"
    if model.target.precision != accuracies:
        cli.note(
            f"accuracies are of {accuracies} subnets; the latencies are of {model.target.precision} ones"
        )


def note_classes(model: LatencyModel, classes: int | None) -> None:
    """Say so where the networks of a table tell another number of classes apart; None for what the family has."""
    from compofa.spaces.registry import get_family

    wanted = classes or get_family(model.family.name).classes
    if model.family.classes != wanted:
        cli.note(
            f"the latencies are of networks that tell {model.family.classes} classes apart, the accuracies of "
            f"{wanted}: the classifier takes another time (build_lut --classes {wanted})"
        )


def accuracy_files(spaces: Sequence[str], family: Family, given: Sequence[Path] | None) -> list[Path]:
    """The accuracy file of each space.

    Raises:
        ValueError: there are neither one nor as many as spaces, or none is given or shipped.
    """
    from hwbench import shipped

    if not given:
        return [shipped.accuracies(family.name, space) for space in spaces]
    if len(given) not in (1, len(spaces)):
        raise InputError(f"{len(given)} times --accuracy for {len(spaces)} spaces: give one, or one for each")
    return list(given) * (len(spaces) if len(given) == 1 else 1)
