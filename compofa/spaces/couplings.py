"""Couplings other than CompOFA's: which value of an axis goes with which number of blocks, and which another axis has.

CompOFA (Sahni et al., arXiv:2104.12642, section 3.2) lets the expand ratio of a unit rise with its depth and fixes its
kernel. Each other map from depths to ratios, the same in all units, and each other kernel of each unit gives a space of
the same size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from compofa.errors import InputError
from compofa.spaces.family import Family, Number, Unit
from compofa.spaces.rules import RULES, Rule, UnitShape


@dataclass(frozen=True)
class Coupling(Rule):
    """A rule that CompOFA's is one of.

    Args:
        ranks: of each number of blocks of a unit, from the fewest to the most, the place of its value on the coupled
            axis; (0, 1, 2) is CompOFA's.
        fixed_values: of each unit the value of the fixed axis; None where the unit has no such axis.
    """

    ranks: tuple[int, ...] = ()
    fixed_values: tuple[Number | None, ...] = ()

    def shapes(self, unit: Unit, number: int) -> list[UnitShape]:
        """Every number of blocks that unit `number` may have, with what each of them may then be."""
        found = []
        for place, depth in enumerate(unit.depths):
            values: list[tuple[Number, ...]] = []
            for axis in unit.axes:
                fixed = self.fixed_values[number]
                if axis.name == self.fixed and fixed is not None:
                    values.append((fixed,))
                elif axis.name == self.coupled and len(unit.depths) > 1:
                    values.append((axis.values[self.ranks[place]],))
                else:
                    values.append(axis.values)
            found.append(UnitShape(depth, tuple(values)))
        return found

    def describe(self, family: Family) -> str:
        """In words: ``expand 3 4 6 by depth, kernel 3 5 3 3 5``."""
        unit = next(unit for unit in family.elastic_units if len(unit.depths) > 1)
        axis = unit.axis(self.coupled or "")
        assert axis
        coupled = " ".join(f"{axis.values[rank]:g}" for rank in self.ranks)
        fixed = " ".join("-" if value is None else f"{value:g}" for value in self.fixed_values)
        text = f"{axis.name} {coupled} by depth"
        return f"{text}, {self.fixed} {fixed}" if self.fixed and fixed.strip("- ") else text


def couplings(family: Family, fixed: bool = True) -> Iterator[Coupling]:
    """All of `family` that are as large as CompOFA's, CompOFA's first.

    Args:
        family: whose units all have as many depths as values of the coupled axis.
        fixed: whether the fixed axis is varied, too; else it stays as CompOFA has it.

    Raises:
        InputError: CompOFA's rule does not fit the family; says why.
    """
    base = RULES["compofa"]
    base.check(family)
    own = _own(family, base)
    yield own
    options = [
        axis.values if fixed and (axis := unit.axis(base.fixed or "")) else (value,)
        for unit, value in zip(family.elastic_units, own.fixed_values, strict=True)
    ]
    places = len(own.ranks)
    for ranks in itertools.product(range(places), repeat=places):
        for values in itertools.product(*options):
            found = Coupling(base.name, base.coupled, base.fixed, ranks, values)
            if found != own:
                yield found


def count_couplings(family: Family, fixed: bool = True) -> int:
    """How many :func:`couplings` gives."""
    base = RULES["compofa"]
    places = len(_own(family, base).ranks)
    axes = [unit.axis(base.fixed or "") for unit in family.elastic_units]
    return places**places * (math.prod(len(axis.values) for axis in axes if axis) if fixed else 1)


def _own(family: Family, base: Rule) -> Coupling:
    """CompOFA's own."""
    lengths = {len(unit.depths) for unit in family.elastic_units if len(unit.depths) > 1}
    if len(lengths) != 1:
        raise InputError(f"the units of {family.name} have no number of depths in common to couple")
    fixed = tuple(dict(unit.fixed).get(base.fixed or "") for unit in family.elastic_units)
    return Coupling(base.name, base.coupled, base.fixed, tuple(range(lengths.pop())), fixed)
