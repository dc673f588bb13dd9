"""Families that are small enough to enumerate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compofa.spaces.family import Axis, Family


def cut(
    family: Family,
    units: int | None = None,
    resolutions: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    **values: Sequence[float],
) -> Family:
    """`family` with its first elastic units only, and with other choices for all of these.

    Args:
        family: a family that ends in fixed units.
        units: how many elastic ones stay.
        resolutions, depths: in place of the family's.
        values: of axes, by name, in place of the family's.
    """
    kept, number = [], 0
    for unit in family.units:
        number += bool(unit.elastic)
        if unit.elastic and units is not None and number > units:
            continue
        if unit.elastic:
            axes = tuple(Axis(axis.name, tuple(values.get(axis.name, axis.values))) for axis in unit.axes)
            unit = replace(unit, depths=tuple(depths or unit.depths), axes=axes)
        kept.append(unit)
    return replace(family, units=tuple(kept), resolutions=tuple(resolutions or family.resolutions))
