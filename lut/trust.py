"""How far to trust a table, in words; and which table to take where none was named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compofa.errors import InputError
from compofa.files import whole_files
from compofa.spaces.family import Family
from compofa.spaces.space import get_space
from lut import store
from lut.formats.ofa import BACKEND as FOREIGN
from lut.paths import tables_folder
from lut.plausible import oddities
from lut.table import Table

NOISY_SHARE = 0.5
"""Of the entries: with more noisy ones the sums are not to be trusted."""
OTHERS_LOOKED_AT = 100
"""Tables of a family that are looked at, newest first."""


@dataclass(frozen=True)
class Doubt:
    """A reason not to trust a table.

    Args:
        kind: ``unfinished``, ``noisy``, ``modelled``, ``failures``, ``implausible`` or ``another machine``.
        text: what is wrong, and what to do, in one line.
        serious: answers from the table are likely to be wrong: it should be used only by who insists.
    """

    kind: str
    text: str
    serious: bool


def doubts(table: Table, cpu: str | None = None) -> list[Doubt]:
    """Why not to trust `table`, serious reasons first; empty if nothing speaks against it.

    Args:
        table: which.
        cpu: name of the processor that answers are wanted for; not compared unless given.
    """
    found = [*_unfinished(table), *_noisy(table), *_another_machine(table, cpu)]
    return sorted([*found, *_modelled(table), *_failures(table), *_odd(table)], key=lambda d: not d.serious)


def _unfinished(table: Table) -> Iterator[Doubt]:
    header = table.header
    space = get_space(header.space, table.family_as_built)
    wanted = space.all_blocks(header.resolutions or None)
    if missing := len(table.missing(space, header.resolutions or None)):
        foreign = table.target.backend == FOREIGN
        build = "" if foreign else "finish it with the same hwbench build_lut, or "
        yield Doubt(
            "unfinished",
            f"it lacks {missing} of the {len(wanted)} blocks of {space.name} at its resolutions: {build}predict them "
            "with hwbench tables fill",
            serious=True,
        )


def _noisy(table: Table) -> Iterator[Doubt]:
    noisy, entries = sum(m.noisy for m in table.entries.values()), len(table.entries)
    if noisy > NOISY_SHARE * entries:
        yield Doubt(
            "noisy",
            f"{noisy} of its {entries} entries are noisy: build it again on a quiet machine (hwbench doctor says what "
            "disturbs it)",
            serious=True,
        )


def _another_machine(table: Table, cpu: str | None) -> Iterator[Doubt]:
    there = table.header.host.get("cpu")
    if cpu and there and there != cpu and table.target.device == there:
        yield Doubt(
            "another machine",
            f"its latencies are of {there}, and this is {cpu}: build one here with hwbench build_lut",
            serious=False,
        )


def _modelled(table: Table) -> Iterator[Doubt]:
    if modelled := table.origins.get("modelled"):
        yield Doubt(
            "modelled",
            f"{modelled} of its {len(table.entries)} entries are modelled, not measured: compare some with the "
            "device before relying on them",
            serious=False,
        )


def _failures(table: Table) -> Iterator[Doubt]:
    if failures := table.failures:
        block, why = next(iter(failures.items()))
        yield Doubt(
            "failures",
            f"{len(failures)} blocks cannot run on {table.target.device}, the first being {block} ({why}): subnets "
            "with them are left out",
            serious=False,
        )


def _odd(table: Table) -> Iterator[Doubt]:
    if odd := oddities(table):
        yield Doubt(
            "implausible",
            f"{len(odd)} of its {len(table.entries)} entries do not fit the others, the first being {odd[0].block}: "
            f"{odd[0].reason}; hwbench tables show lists them",
            serious=False,
        )


# --- which table ---


@dataclass(frozen=True)
class Choice:
    """A table that was not named.

    Args:
        path: of it.
        why: in words, for people; empty where there is no other.
        doubts: about it, see :func:`doubts`.
    """

    path: Path
    why: str
    doubts: tuple[Doubt, ...]


def choose_table(family: Family, cpu: str | None = None) -> Choice | None:
    """The table of `family` in :func:`lut.paths.tables_folder` to take where none was named; None if there is none.

    One that is complete comes before one that is not, then one that is not noisy, then a measured one before a modelled
    one, then one of this machine; of equals the one that was written last.

    Args:
        family: whose blocks, with its own number of classes.
        cpu: the processor's name; not compared unless given.

    Raises:
        OSError: the folder is there but cannot be read.
    """
    candidates = _tables(family, cpu)
    if not candidates:
        return None
    order = ("unfinished", "noisy", "modelled", "another machine")
    ranked = []
    for age, (path, found) in enumerate(candidates):
        kinds = {doubt.kind for doubt in found}
        ranked.append(([kind in kinds for kind in order], age, path, found))
    _, age, path, found = min(ranked, key=lambda rank: rank[:2])
    why = f"the newest of {len(candidates)} tables" if len(candidates) > 1 else ""
    if age:
        (_, _, newer, against) = ranked[0]
        reason = next(d for kind in order for d in against if d.kind == kind)
        why = f"not the newest one, {newer.name}: {reason.text}"
    return Choice(path, why, tuple(found))


def _changed_ns(path: Path) -> int:
    """When; of what is gone meanwhile, long ago."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _tables(family: Family, cpu: str | None) -> list[tuple[Path, list[Doubt]]]:
    """Those of `family` that can be read and hold something, newest first, with the doubts about each."""
    folder = tables_folder()
    if not folder.is_dir():
        return []
    files = sorted(whole_files(folder, "*.jsonl"), key=_changed_ns, reverse=True)
    found = []
    for path in files:
        try:
            header = store.read_header(path)
            if (header.family, header.classes or family.classes) != (family.name, family.classes):
                continue
            table = Table.load(path)
            if table.entries:
                found.append((path, doubts(table, cpu)))
        except (OSError, InputError):  # not a table, or a broken one: whoever names it is told
            continue
        if len(found) == OTHERS_LOOKED_AT:
            break
    return found
