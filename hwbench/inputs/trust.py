"""What is doubtful about what was given: said, or refused unless it is forced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench.telling import note, warn

if TYPE_CHECKING:
    from compofa.accuracy.origin import AccuracyOrigin
    from lut.costs import CostModel


def insist(doubt: str, force: bool) -> None:
    """Refuse because of a doubt, or, with `force`, go on and say so.

    Raises:
        InputError: `force` is false.
    """
    if not force:
        raise InputError(f"{doubt} (--force goes on all the same)")
    warn(doubt)


def note_differences(cost: CostModel, of: AccuracyOrigin) -> None:
    """Say so where costs are of another number format, or of another number of classes, than accuracies."""
    if cost.setting is None:
        return
    note_classes(cost, of.classes)
    accuracies = of.precision or "fp32"
    if cost.setting.precision != accuracies:
        note(f"accuracies are of {accuracies} subnets; the latencies are of {cost.setting.precision} ones")


def note_classes(cost: CostModel, classes: int | None) -> None:
    """Say so where the networks of a table tell another number of classes apart; None for what the family has."""
    from compofa.spaces.registry import get_family

    wanted = classes or get_family(cost.family.name).classes
    if cost.setting and cost.setting.classes != wanted:
        note(
            f"the latencies are of networks that tell {cost.setting.classes} classes apart, the accuracies of "
            f"{wanted}: the classifier takes another time (build_lut --classes {wanted})"
        )
