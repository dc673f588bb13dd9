"""What of a space a cost knows: blocks that cannot run, resolutions that were measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench.inputs.trust import insist
from hwbench.telling import note

if TYPE_CHECKING:
    from compofa.blocks import Block
    from compofa.spaces.space import Space
    from hwbench.inputs.costs import Source


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


def runnable(space: Space, source: Source) -> tuple[Space, LeftOut | None]:
    """`space` less the subnets with a block that the target cannot run, and what that costs; says so.

    Raises:
        CannotRun: nothing is left.
    """
    from backends.base import CannotRun

    failed = dict(source.cost.failures_in(space))
    if not failed:
        return space, None
    kept = space.without(failed)
    sides = covered_resolutions(space, source, told=False)
    total = space.count(sides)
    left_out = LeftOut(failed, total - kept.count(sides), total)
    block, reason = next(iter(failed.items()))
    words = (
        f"{len(failed)} blocks of space {space.name} cannot run on {source.cost.of}, the first being {block} "
        f"({reason})"
    )
    if not kept.count(sides):
        raise CannotRun(f"{source}: {words}: no subnet is left")
    note(
        f"{source}: {words}: {_count(left_out.subnets)} of {_count(total)} subnets have one and are left out"
    )
    return kept, left_out


def _count(number: int) -> str:
    return f"{number:,}" if number < 1e9 else f"{float(number):.3g}"


def covered_resolutions(
    space: Space, source: Source, force: bool = False, *, told: bool = True
) -> tuple[int, ...]:
    """The resolutions that a cost knows all of `space` at; says so, unless not `told`, if they are not all that the
    family has.

    Raises:
        MissingEntry: it lacks blocks there; names the first and says how many.
        InputError: it knows nothing of some choice of the space, and `force` is false.
    """
    from lut.lookup import MissingEntry

    try:
        covered = source.cost.resolutions_in(space)
    except MissingEntry as error:
        raise MissingEntry(str(error).replace("the table", str(source), 1)) from None
    if told and (choice := source.cost.unknown_in(space)):
        insist(
            f"{source} was fitted to no subnet with {choice}, as space {space.name} has: measure some and fit again",
            force,
        )
    if told and len(covered) < len(space.family.resolutions):
        sides = (
            f"{', '.join(map(str, covered))} px only" if covered else "no resolution of the family in full"
        )
        note(f"{source} covers {sides}: subnets of other resolutions are left out")
    return covered


def common_resolutions(
    space: Space, sources: list[Source], known: tuple[int, ...], force: bool
) -> tuple[int, ...]:
    """Those of :func:`covered_resolutions` that all costs and the accuracies, which are `known` at some, share.

    Raises:
        InputError: there is none.
    """
    common = set(known).intersection(space.family.resolutions)
    for source in sources:
        common &= set(covered_resolutions(space, source, force))
    if not common:
        raise InputError(
            f"the tables and the accuracies have no resolution in common: the accuracies are of "
            f"{', '.join(map(str, known))} px"
        )
    return tuple(sorted(common))
