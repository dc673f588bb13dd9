"""Costs of ten million subnets a second: what is additive over blocks, as arrays over genotypes.

A table's sums, a calibrated model, MACs, parameters and the search's own stand-in of accuracies are the same two
arrays, so searching and drawing frontiers need to know nothing but this.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block
from compofa.errors import RunFailed
from compofa.network import frame
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout

Floats = NDArray[np.float64]
CHUNK = 4096
"""Subnets at a time: their indices and latencies then stay in the second-level cache. Probed: half the
speed at 1024 (calls) and at 16384 (cache)."""


class MissingEntry(RunFailed, LookupError):
    """A block of the network is not in the table."""


@dataclass(frozen=True)
class Lookup:
    """``fixed[resolution] + sum over slots of slots[context, slot, choice]``.

    What follows an elastic unit of several widths (pooling, a classifier) depends on its width, and is counted with the
    unit's first block, which every subnet has.

    Args:
        family: whose genotypes are answered for.
        fixed: shape (resolutions,): what every subnet has, NaN where it is not known.
        slots: shape (contexts, slots, 1 + most choices): 0 for choice 0 (inactive), NaN where not known. Contexts
            are those of :class:`~compofa.spaces.layout.GenotypeLayout`: resolutions, where all widths are fixed.
    """

    family: Family
    fixed: Floats
    slots: Floats

    @classmethod
    def build(cls, family: Family, of_block: Callable[[Block, int], float], constant: float = 0.0) -> Lookup:
        """The arrays of a cost that gives a block, in a network of a resolution, `of_block`, NaN if it does not
        know it, and every network `constant`."""
        fixed, slots = block_arrays(family, of_block, np.add)
        return cls(family, fixed + constant, slots)

    def predict(self, genotypes: Genotypes) -> Floats:
        """The cost of each subnet.

        Args:
            genotypes: shape (n, columns), as :func:`compofa.spaces.layout.encode` gives them.

        Returns:
            Shape (n,).

        Raises:
            MissingEntry: a subnet has a block whose cost is not known.
            InputError: `genotypes` are not of this family.
        """
        at = layout(self.family)
        at.check(genotypes)
        total = np.empty(len(genotypes))
        _, slots, choices = self.slots.shape
        table = self.slots.reshape(-1)
        offsets = np.arange(slots)[:, None] * choices
        for start in range(0, len(genotypes), CHUNK):
            # Slots first: the sum over them then adds whole vectors.
            part = genotypes[start : start + CHUNK]
            index = part.T[1 : 1 + slots].astype(np.intp, order="C")
            index += offsets
            index += at.contexts_of_slots(part) * (slots * choices)
            # "clip" only because it skips a second check of the bounds.
            total[start : start + CHUNK] = table.take(index, mode="clip").sum(axis=0)
        total += self.fixed[genotypes[:, 0]]
        if np.isnan(total).any():
            raise MissingEntry(self._explain(genotypes[np.isnan(total)]))
        return total

    def of_unit(self, context: int, unit: int) -> Floats:
        """What each choice of each of a unit's slots adds, shape (most blocks, 1 + most choices)."""
        at = layout(self.family)
        return self.slots[context, at.starts[unit] : at.starts[unit + 1]]

    def _explain(self, genotypes: Genotypes) -> str:
        """What is missing for `genotypes`, each of which misses something."""
        at, row = layout(self.family), genotypes[0].tolist()
        resolution = self.family.resolutions[row[0]]
        text = f"the table cannot answer for {len(genotypes)} of the subnets: first missing, at {resolution} px, "
        if np.isnan(self.fixed[row[0]]):
            return text + "the blocks that every subnet has (no table of this resolution?)"
        contexts = np.broadcast_to(at.contexts_of_slots(genotypes[:1])[:, 0], at.slots)
        widths = at.widths_of(genotypes[:1])[:, 0]
        for slot, choice in enumerate(row[1 : 1 + at.slots]):
            unit, position = at.slot(slot)
            if choice and np.isnan(self.slots[contexts[slot], slot, choice]):
                break
        before = int(widths[unit - 1]) if unit else 0
        chosen = at.units[unit].choices[choice - 1]
        return text + str(
            frame(self.family, resolution).block(unit, position, chosen, int(widths[unit]), before)
        )


def block_arrays(
    family: Family, of_block: Callable[[Block, int], float], join: np.ufunc
) -> tuple[Floats, Floats]:
    """What blocks contribute, as arrays over genotypes.

    Args:
        family: whose blocks.
        of_block: of a block in a network of a resolution.
        join: what blocks that always come together make of it, ``np.add`` or ``np.maximum``.

    Returns:
        Of all that every subnet has, shape (resolutions,), and of each choice of each slot, shape (contexts, slots,
        1 + most choices), as :class:`Lookup` has them.
    """
    at = layout(family)
    fixed = np.zeros(len(family.resolutions))
    slots = np.zeros((at.contexts, at.slots, 1 + at.max_choices))

    def together(blocks: Iterable[Block], resolution: int) -> float:
        return float(join.reduce([0.0, *(of_block(block, resolution) for block in blocks)]))

    for r, resolution in enumerate(family.resolutions):
        around = frame(family, resolution)
        blocks = around.before
        if len(around.after[-1]) == 1:
            blocks += around.after[-1][0]
        fixed[r] = together(blocks, resolution)
        for unit, spec in enumerate(at.units):
            for before, width in itertools.product(
                range(at.width_count(unit - 1)), range(at.width_count(unit))
            ):
                mine = slots[at.context(r, before, width), at.starts[unit] : at.starts[unit + 1], 1:]
                for c, choice in enumerate(spec.choices):
                    # The blocks of a unit after its first one are the same whatever their position.
                    for position, places in enumerate((mine[:1], mine[1:])[: spec.max_depth]):
                        block = around.block(unit, position, choice, width, before)
                        places[:, c] = of_block(block, resolution)
                if unit < len(at.units) - 1 or at.width_count(unit) > 1:
                    mine[0] = join(mine[0], together(around.after[unit][width], resolution))
    return fixed, slots
