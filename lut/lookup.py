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

from compofa.arch import head_blocks, slot_block, tail_blocks
from compofa.blocks import Block
from compofa.errors import InputError, RunFailed
from compofa.families import Family
from compofa.genotype import Genotypes, block_choices

CHUNK = 4096
"""Subnets at a time: their indices and latencies then stay in the second-level cache. Probed: half the
speed at 1024 (calls) and at 16384 (cache)."""


class MissingEntry(RunFailed, LookupError):
    """A block of the network is not in the table."""


@dataclass(frozen=True)
class Lookup:
    """``fixed_ms[resolution] + sum over slots of slot_ms[resolution, slot, choice]``.

    Args:
        family: whose genotypes are answered for.
        fixed_ms: shape (resolutions,): what every subnet has, NaN where it is not known.
        slot_ms: shape (resolutions, slots, 1 + choices): 0 for choice 0 (inactive), NaN where not known.
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
        choices = block_choices(family)
        fixed = np.full(len(family.resolutions), constant_ms)
        slots = np.zeros((len(family.resolutions), family.slots, 1 + len(choices)))
        for r, resolution in enumerate(family.resolutions):
            blocks = (*head_blocks(family, resolution), *tail_blocks(family, resolution))
            fixed[r] += sum(block_ms(block, resolution) for block in blocks)
            for unit, (c, choice) in itertools.product(range(len(family.units)), enumerate(choices, start=1)):
                start = unit * family.max_depth
                # The blocks of a unit after its first one are the same whatever their position.
                for position, places in (
                    (0, slice(start, start + 1)),
                    (1, slice(start + 1, start + family.max_depth)),
                ):
                    block = slot_block(family, resolution, unit, position, *choice)
                    slots[r, places, c] = block_ms(block, resolution)
        return cls(family, fixed, slots)

    def predict_ms(self, genotypes: Genotypes) -> NDArray[np.float64]:
        """Latency of each subnet in milliseconds.

        Args:
            genotypes: shape (n, 1 + slots), as :func:`compofa.genotype.encode` gives them.

        Returns:
            Shape (n,).

        Raises:
            MissingEntry: a subnet has a block whose latency is not known.
            ValueError: `genotypes` are not of this family.
        """
        self._check(genotypes)
        latency = np.empty(len(genotypes))
        _, slots, choices = self.slot_ms.shape
        table = self.slot_ms.reshape(-1)
        offsets = np.arange(slots)[:, None] * choices
        for start in range(0, len(genotypes), CHUNK):
            # Slots first: the sum over them then adds whole vectors.
            columns = genotypes[start : start + CHUNK].T
            index = columns[1:].astype(np.intp, order="C")
            index += offsets
            index += columns[0].astype(np.intp) * (slots * choices)
            # "clip" only because it skips a second check of the bounds.
            latency[start : start + CHUNK] = table.take(index, mode="clip").sum(axis=0)
        latency += self.fixed_ms[genotypes[:, 0]]
        if np.isnan(latency).any():
            raise MissingEntry(self._explain(genotypes[np.isnan(latency)]))
        return latency

    def _check(self, genotypes: Genotypes) -> None:
        resolutions, slots, choices = self.slot_ms.shape
        if genotypes.ndim != 2 or genotypes.shape[1] != 1 + slots:
            raise InputError(
                f"genotypes of {self.family.name} have shape (n, {1 + slots}), not {genotypes.shape}"
            )
        if not len(genotypes):
            return
        if genotypes.min() < 0 or genotypes[:, 0].max() >= resolutions or genotypes[:, 1:].max() >= choices:
            raise InputError(f"not genotypes of {self.family.name}: a resolution or a choice is out of range")

    def _explain(self, genotypes: Genotypes) -> str:
        """What is missing for `genotypes`, each of which misses something."""
        row = genotypes[0].tolist()
        resolution = self.family.resolutions[row[0]]
        text = f"the table cannot answer for {len(genotypes)} of the subnets: first missing, at {resolution} px, "
        if np.isnan(self.fixed_ms[row[0]]):
            return text + "the blocks that every subnet has (no table of this resolution?)"
        slot = next(s for s, choice in enumerate(row[1:]) if np.isnan(self.slot_ms[row[0], s, choice]))
        unit, position = divmod(slot, self.family.max_depth)
        choice = block_choices(self.family)[row[1 + slot] - 1]
        return text + str(slot_block(self.family, resolution, unit, position, *choice))
