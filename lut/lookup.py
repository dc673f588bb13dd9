"""Latencies of a million subnets a second: an additive model as arrays over genotypes.

Whatever is additive over blocks, a table's sums as well as a calibrated model, is the same three arrays, so
searching and drawing frontiers need to know nothing but this.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block
from compofa.errors import RunFailed
from compofa.network import frame
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout

CHUNK = 4096
"""Subnets at a time: their indices and latencies then stay in the second-level cache. Probed: half the
speed at 1024 (calls) and at 16384 (cache)."""


class MissingEntry(RunFailed, LookupError):
    """A block of the network is not in the table."""


@dataclass(frozen=True)
class Lookup:
    """``fixed_ms[resolution] + sum over slots of slot_ms[context, slot, choice]``.

    What follows an elastic unit of several widths (pooling, a classifier) depends on its width, and is counted with the
    unit's first block, which every subnet has.

    Args:
        family: whose genotypes are answered for.
        fixed_ms: shape (resolutions,): what every subnet has, NaN where it is not known.
        slot_ms: shape (contexts, slots, 1 + most choices): 0 for choice 0 (inactive), NaN where not known. Contexts
            are those of :class:`~compofa.spaces.layout.GenotypeLayout`: resolutions, where all widths are fixed.
    """

    family: Family
    fixed_ms: NDArray[np.float64]
    slot_ms: NDArray[np.float64]

    @classmethod
    def build(
        cls, family: Family, block_ms: Callable[[Block, int], float], constant_ms: float = 0.0
    ) -> Lookup:
        """The arrays of a model that gives a block, in a network of a resolution, `block_ms`, NaN if it does not
        know it, and every network `constant_ms`."""
        at = layout(family)
        fixed = np.full(len(family.resolutions), constant_ms)
        slots = np.zeros((at.contexts, at.slots, 1 + at.max_choices))
        for r, resolution in enumerate(family.resolutions):
            around = frame(family, resolution)
            blocks = around.before
            if len(around.after[-1]) == 1:
                blocks += around.after[-1][0]
            fixed[r] += sum(block_ms(block, resolution) for block in blocks)
            for unit, spec in enumerate(at.units):
                widths = itertools.product(range(at.width_count(unit - 1)), range(at.width_count(unit)))
                for before, width in widths:
                    mine = slots[at.context(r, before, width), at.starts[unit] : at.starts[unit + 1], 1:]
                    for c, choice in enumerate(spec.choices):
                        # The blocks of a unit after its first one are the same whatever their position.
                        for position, places in enumerate((mine[:1], mine[1:])[: spec.max_depth]):
                            block = around.block(unit, position, choice, width, before)
                            places[:, c] = block_ms(block, resolution)
                    if unit < len(at.units) - 1 or at.width_count(unit) > 1:
                        mine[0] += sum(block_ms(block, resolution) for block in around.after[unit][width])
        return cls(family, fixed, slots)

    def predict_ms(self, genotypes: Genotypes) -> NDArray[np.float64]:
        """Latency of each subnet in milliseconds.

        Args:
            genotypes: shape (n, columns), as :func:`compofa.spaces.layout.encode` gives them.

        Returns:
            Shape (n,).

        Raises:
            MissingEntry: a subnet has a block whose latency is not known.
            ValueError: `genotypes` are not of this family.
        """
        at = layout(self.family)
        at.check(genotypes)
        latency = np.empty(len(genotypes))
        _, slots, choices = self.slot_ms.shape
        table = self.slot_ms.reshape(-1)
        offsets = np.arange(slots)[:, None] * choices
        for start in range(0, len(genotypes), CHUNK):
            # Slots first: the sum over them then adds whole vectors.
            part = genotypes[start : start + CHUNK]
            index = part.T[1 : 1 + slots].astype(np.intp, order="C")
            index += offsets
            index += at.contexts_of_slots(part) * (slots * choices)
            # "clip" only because it skips a second check of the bounds.
            latency[start : start + CHUNK] = table.take(index, mode="clip").sum(axis=0)
        latency += self.fixed_ms[genotypes[:, 0]]
        if np.isnan(latency).any():
            raise MissingEntry(self._explain(genotypes[np.isnan(latency)]))
        return latency

    def _explain(self, genotypes: Genotypes) -> str:
        """What is missing for `genotypes`, each of which misses something."""
        at, row = layout(self.family), genotypes[0].tolist()
        resolution = self.family.resolutions[row[0]]
        text = f"the table cannot answer for {len(genotypes)} of the subnets: first missing, at {resolution} px, "
        if np.isnan(self.fixed_ms[row[0]]):
            return text + "the blocks that every subnet has (no table of this resolution?)"
        contexts = np.broadcast_to(at.contexts_of_slots(genotypes[:1])[:, 0], at.slots)
        widths = at.widths_of(genotypes[:1])[:, 0]
        for slot, choice in enumerate(row[1 : 1 + at.slots]):
            unit, position = at.slot(slot)
            if choice and np.isnan(self.slot_ms[contexts[slot], slot, choice]):
                break
        before = int(widths[unit - 1]) if unit else 0
        chosen = at.units[unit].choices[choice - 1]
        return text + str(
            frame(self.family, resolution).block(unit, position, chosen, int(widths[unit]), before)
        )
