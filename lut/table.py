"""A lookup table: what each block costs on one target."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.base import Measurement, Target
from compofa.blocks import Block
from compofa.families import Family, get_family
from compofa.genotype import Genotypes
from compofa.spaces import SPACES, Space, get_space
from lut import store
from lut.lookup import Lookup, MissingEntry

__all__ = ["MissingEntry", "Table"]


@dataclass(frozen=True)
class Table:
    """Blocks and their latencies on one target; the latency of a network is their sum.

    Args:
        header: what the entries are of.
        entries: each block's measurement.
        failures: blocks that the target cannot run, and why; no subnet with one of them can be answered for.
    """

    header: store.Header
    entries: dict[Block, Measurement]
    failures: dict[Block, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Table:
        """The table at `path`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no table; the message names the file and the line.
        """
        return cls(*store.read(path), store.read_failures(path))

    @property
    def target(self) -> Target:
        """What the latencies are of."""
        return self.header.target

    @cached_property
    def origin(self) -> str:
        """Whether the entries were ``measured``, or some were ``modelled`` or ``predicted``."""
        return next((m.origin for m in self.entries.values() if m.origin != "measured"), "measured")

    @cached_property
    def origins(self) -> dict[str, int]:
        """How many entries are ``measured``, ``modelled`` and ``predicted``; those that there are."""
        found = Counter(m.origin for m in self.entries.values())
        return {origin: found[origin] for origin in Measurement.ORIGINS if found[origin]}

    @cached_property
    def provenance(self) -> str:
        """:attr:`origins` in words: ``measured``, or ``122 blocks measured, 245 predicted``."""
        if len(self.origins) < 2:
            return self.origin
        (first, count), *others = self.origins.items()
        return ", ".join([f"{count} blocks {first}", *(f"{count} {origin}" for origin, count in others)])

    @cached_property
    def family(self) -> Family:
        """The family whose blocks these are.

        Raises:
            ValueError: this version of hwbench does not have it.
        """
        return get_family(self.header.family)

    def latency_ms(self, blocks: Iterable[Block]) -> float:
        """Sum of the blocks' latencies.

        Raises:
            MissingEntry: some are not in the table; names the first and says how many.
        """
        blocks = tuple(blocks)
        if missing := [block for block in blocks if block not in self.entries]:
            raise MissingEntry(
                f"the table has no entry for {len(set(missing))} of the blocks, the first being {missing[0]}"
            )
        return math.fsum(self.entries[block].latency_ms for block in blocks)

    @cached_property
    def lookup(self) -> Lookup:
        """The table's sums as arrays over the genotypes of its family."""
        entries = self.entries
        return Lookup.build(self.family, lambda b: entries[b].latency_ms if b in entries else math.nan)

    def predict_ms(self, genotypes: Genotypes) -> NDArray[np.float64]:
        """:meth:`latency_ms` of each subnet, shape (n,), from genotypes of shape (n, 1 + slots).

        Raises:
            MissingEntry: a subnet has a block that is not in the table.
            ValueError: they are not genotypes of the table's family.
        """
        return self.lookup.predict_ms(genotypes)

    # --- what the table can answer ---

    def missing(self, space: Space, resolutions: Sequence[int] | None = None) -> tuple[Block, ...]:
        """Blocks of `space` at `resolutions` (all unless given) that have no entry."""
        return tuple(block for block in space.all_blocks(resolutions) if block not in self.entries)

    def coverage(self, space: Space, resolutions: Sequence[int] | None = None) -> float:
        """Share of the blocks of `space` at `resolutions` (all unless given) that have an entry, 0 to 1."""
        return 1 - len(self.missing(space, resolutions)) / len(space.all_blocks(resolutions))

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Those of the family at which the table has a block that no other resolution uses, ascending."""
        space = get_space("ofa", self.family)
        blocks = {r: space.all_blocks((r,)) for r in self.family.resolutions}
        used = Counter(block for of_one in blocks.values() for block in of_one)
        return tuple(
            r for r, of_one in blocks.items() if any(used[b] == 1 and b in self.entries for b in of_one)
        )

    def complete_resolutions(self, space: Space) -> tuple[int, ...]:
        """The resolutions at which every subnet of `space` can be answered for, ascending."""
        return tuple(r for r in self.family.resolutions if not self.missing(space, (r,)))

    def widest_space(self) -> Space:
        """The largest space of the family that the table answers for in full at some resolution.

        Raises:
            MissingEntry: there is none: the table is not finished.
        """
        for name in SPACES:
            if self.complete_resolutions(space := get_space(name, self.family)):
                return space
        raise MissingEntry("the table is complete at no resolution of any space; finish it with build_lut")
