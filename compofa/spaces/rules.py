"""Rules over a family: which of a unit's choices may stand together, as data.

The couplings are those of CompOFA (Sahni et al., ICLR 2021, arXiv:2104.12642, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from compofa.errors import InputError
from compofa.spaces.family import Family, Number, Unit

Values = tuple[tuple[Number, ...], ...]
"""Of each axis of a unit, which values a block may have."""


class UnitShape(NamedTuple):
    """A number of blocks and what each of them may be, independently of the others."""

    depth: int
    values: Values


@dataclass(frozen=True)
class Rule:
    """Which subnets of a family a space holds.

    Args:
        name: as given to ``--space``.
        coupled: the axis whose value goes with the unit's depth: the smallest with the smallest, and so on; none if
            they are free. A unit of a single depth is free.
        fixed: the axis that has the unit's own fixed value; none if it is free.
    """

    name: str
    coupled: str | None = None
    fixed: str | None = None

    def check(self, family: Family) -> None:
        """Raise InputError unless the family has what the rule speaks of."""
        if self.coupled and any(unit.wide for unit in family.elastic_units):
            raise InputError(
                f"space {self.name} couples depths with {self.coupled} ratios and says nothing of widths, which family "
                f"{family.name} has to choose, too: take the space ofa"
            )
        for number, unit in enumerate(family.elastic_units, start=1):
            axis = unit.axis(self.coupled) if self.coupled else None
            if axis and len(unit.depths) > 1 and len(unit.depths) != len(axis.values):
                raise InputError(
                    f"CompOFA couples the depths of a family with its {axis.name} ratios, one with one: unit {number} "
                    f"of {family.name} has {len(unit.depths)} depths {unit.depths} and {len(axis.values)} "
                    f"{axis.name} ratios {axis.values}"
                )
            axis = unit.axis(self.fixed) if self.fixed else None
            if axis and (fixed := dict(unit.fixed).get(axis.name)) not in axis.values:
                raise InputError(
                    f"space {self.name} fixes the {axis.name} of unit {number} to {fixed}, which is not among the "
                    f"{axis.name}s {axis.values} of family {family.name}"
                )

    def shapes(self, unit: Unit, number: int) -> list[UnitShape]:
        """Every number of blocks that `unit`, the elastic unit of that number, may have, with what each may then be."""
        return [UnitShape(depth, self._values(unit, depth)) for depth in unit.depths]

    def _values(self, unit: Unit, depth: int) -> Values:
        found = []
        for axis in unit.axes:
            values = axis.values
            if axis.name == self.fixed:
                values = (dict(unit.fixed)[axis.name],)
            elif axis.name == self.coupled and len(unit.depths) > 1:
                values = (values[unit.depths.index(depth)],)
            found.append(values)
        return tuple(found)


RULES = {
    rule.name: rule
    for rule in (
        Rule("ofa"),
        Rule("compofa", coupled="expand", fixed="kernel"),
        Rule("compofa-elastic", coupled="expand"),
    )
}
