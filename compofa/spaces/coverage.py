"""Of which choices some subnets tell something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout, used_choices


@dataclass(frozen=True)
class Coverage:
    """What some subnets tell something about: a model that was fitted to them knows nothing of other choices.

    A value of an axis counts by itself, not every combination of them. Choice 0 of a slot stands for a unit that ends
    before it.

    Args:
        family: whose subnets.
        seen: choices of each slot, shape (slots, 1 + most choices).
        widths: of each unit of several widths, which were seen.
    """

    family: Family
    seen: NDArray[np.bool_]
    widths: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, family: Family, genotypes: Genotypes, by_unit: bool = False) -> Coverage:
        """What `genotypes`, shape (n, columns), cover.

        Args:
            family: whose subnets.
            genotypes: the subnets.
            by_unit: a choice seen at one block of a unit is known at all of them, as where a model looks at what
                blocks compute and not at their place.
        """
        at = layout(family)
        used = used_choices(family, genotypes)
        seen = np.zeros_like(used)
        seen[:, 0] = used[:, 0]
        for number, unit in enumerate(at.units):
            rows = slice(at.starts[number], at.starts[number + 1])
            # The first axis changes fastest.
            shape = (unit.max_depth, *(len(axis.values) for axis in reversed(unit.axes)))
            each = used[rows, 1 : 1 + len(unit.choices)].reshape(shape)
            known = np.ones(shape, dtype=np.bool_)
            for axis in range(1, each.ndim):
                others = tuple(i for i in range(1, each.ndim) if i != axis)
                mine = each.any(axis=others, keepdims=True) if others else each
                known &= mine.any(axis=0, keepdims=True) if by_unit else mine
            if not unit.axes:
                known = each.any(axis=0, keepdims=True) | np.zeros_like(each) if by_unit else each
            seen[rows, 1 : 1 + len(unit.choices)] = known.reshape(unit.max_depth, -1)
        columns = genotypes[:, 1 + at.slots :].T
        return cls(family, seen, tuple(tuple(np.unique(column).tolist()) for column in columns))

    def lacks(self, genotypes: Genotypes) -> str | None:
        """The first choice of `genotypes`, shape (n, columns), that is not covered, in words; None if all are."""
        at = layout(self.family)
        widths = [np.unique(column).tolist() for column in genotypes[:, 1 + at.slots :].T]
        return self._missing(used_choices(self.family, genotypes), widths)

    def lacks_of_space(self, used: NDArray[np.bool_]) -> str | None:
        """The first of the choices `used` by a space, shape as `seen`, or of all widths, that is not covered, in words;
        None if all are."""
        at = layout(self.family)
        return self._missing(used, [list(range(at.width_count(unit))) for unit in at.wide_units])

    def _missing(self, used: NDArray[np.bool_], widths: Sequence[Sequence[int]]) -> str | None:
        at = layout(self.family)
        for unit, seen, wanted in zip(at.wide_units, self.widths, widths, strict=True):
            for width in sorted(set(wanted) - set(seen)):
                return f"width {at.units[unit].width_mults[width]:g} of unit {unit + 1}"
        missing = np.argwhere(used & ~self.seen)
        return at.describe(*missing[0].tolist()) if len(missing) else None

    def to_lists(self) -> list[list[int]]:
        """The choices of each slot, then the widths of each unit of several, JSON-ready; :meth:`from_lists` reads
        them back."""
        return [*(np.flatnonzero(row).tolist() for row in self.seen), *map(list, self.widths)]

    @classmethod
    def from_lists(cls, family: Family, lists: Sequence[Sequence[int]]) -> Coverage:
        """What :meth:`to_lists` wrote.

        Raises:
            InputError: it is not that of the family.
        """
        at = layout(family)
        seen = np.zeros((at.slots, 1 + at.max_choices), dtype=np.bool_)
        try:
            for row, choices in zip(seen, lists[: at.slots], strict=True):
                row[np.array(choices, dtype=np.uint8)] = True
            widths = tuple(tuple(map(int, row)) for row in lists[at.slots :])
            if len(widths) != len(at.wide_units):
                raise ValueError(f"{len(widths)} lists of widths for {len(at.wide_units)} units")
        except (IndexError, OverflowError, TypeError, ValueError) as error:
            raise InputError(f"not choices of family {family.name}: {error}") from None
        return cls(family, seen, widths)
