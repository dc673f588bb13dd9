"""What changed between two tables, beyond what their intervals allow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backends.base import Measurement
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.spaces.space import get_space
from lut.predictors.base import Floats
from lut.table import Table


@dataclass(frozen=True)
class Change:
    """A block in both tables."""

    block: Block
    old: Measurement
    new: Measurement

    @property
    def ratio(self) -> float:
        """New latency over old."""
        return self.new.latency_ms / self.old.latency_ms

    @property
    def significant(self) -> bool:
        """Whether the 95 % intervals do not meet."""
        return self.new.low_ms > self.old.high_ms or self.new.high_ms < self.old.low_ms


@dataclass(frozen=True)
class Spread:
    """The ratios of n blocks, new latency over old; all NaN-free, n at least 1."""

    blocks: int
    slower: int
    """Blocks whose interval lies above the old one."""
    faster: int
    median: float
    low: float
    """5 % of the blocks have a smaller ratio."""
    high: float
    """5 % have a larger one."""


@dataclass(frozen=True)
class Comparison:
    """Two tables of one family, block by block.

    Raises:
        ValueError: they are of different families, or have no block in common.
    """

    old: Table
    new: Table

    def __post_init__(self) -> None:
        if self.old.header.family != self.new.header.family:
            raise InputError(
                f"the tables are of different families, {self.old.header.family} and {self.new.header.family}"
            )
        if not self.changes:
            raise InputError("the tables have no block in common")

    @cached_property
    def changes(self) -> dict[Block, Change]:
        """The blocks that both have; where they have but one resolution in common, what they cost at that one."""
        at = self.resolutions[0] if len(self.resolutions) == 1 else None
        return {block: change for block in self.old.entries if (change := self._change(block, at))}

    def _change(self, block: Block, resolution: int | None) -> Change | None:
        old, new = (table.entry(block, resolution) for table in (self.old, self.new))
        return Change(block, old, new) if old and new else None

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Those that both tables are of, in pixels, ascending."""
        return tuple(sorted({*self.old.resolutions} & {*self.new.resolutions}))

    @property
    def only_old(self) -> int:
        """Blocks that the new table lacks."""
        return len(self.old.entries) - len(self.changes)

    @property
    def only_new(self) -> int:
        """Blocks that the old table lacks."""
        return len(self.new.entries) - len(self.changes)

    @cached_property
    def spread(self) -> Spread:
        """Over all common blocks."""
        return _spread(list(self.changes.values()))

    @cached_property
    def by_resolution(self) -> dict[int, Spread]:
        """Over those of each resolution that both tables are of."""
        space = get_space("ofa", self.old.family_as_built)
        found = {}
        for resolution in self.resolutions:
            here = [self._change(block, resolution) for block in space.all_blocks((resolution,))]
            if changes := [change for change in here if change]:
                found[resolution] = _spread(changes)
        return found

    @property
    def worst_pct(self) -> float:
        """How far the median ratio is from 1, over all blocks or those of a resolution, in percent."""
        medians = [self.spread.median, *(spread.median for spread in self.by_resolution.values())]
        return 100 * max(abs(median - 1) for median in medians)

    def largest(self, count: int) -> list[Change]:
        """The significant changes, those first that change the latency most."""
        changed = [change for change in self.changes.values() if change.significant]
        return sorted(changed, key=lambda c: -abs(c.new.latency_ms - c.old.latency_ms))[:count]


def _spread(changes: list[Change]) -> Spread:
    ratios: Floats = np.array([change.ratio for change in changes])
    significant = [change.ratio for change in changes if change.significant]
    slower = sum(ratio > 1 for ratio in significant)
    low, median, high = np.quantile(ratios, (0.05, 0.5, 0.95)).tolist()
    return Spread(len(changes), slower, len(significant) - slower, median, low, high)
