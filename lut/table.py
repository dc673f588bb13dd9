"""A lookup table: what each block costs on one target."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.base import Measurement, Target
from compofa.blocks import Block
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes
from compofa.spaces.registry import get_family
from compofa.spaces.space import Space, get_space, spaces_of
from lut import store
from lut.header import Header
from lut.lookup import Lookup, MissingEntry

__all__ = ["MissingEntry", "Table", "count_origins", "in_words", "known_entries"]


def count_origins(measurements: Iterable[Measurement]) -> dict[str, int]:
    """How many are ``measured``, ``modelled`` and ``predicted``; those that there are, in that order."""
    found = Counter(m.origin for m in measurements)
    return {origin: found[origin] for origin in Measurement.ORIGINS if found[origin]}


def known_entries(entries: Mapping[Block, Measurement]) -> dict[Block, Measurement]:
    """Those that were not predicted."""
    return {block: m for block, m in entries.items() if m.origin != "predicted"}


def in_words(counts: Mapping[str, int]) -> str:
    """:func:`count_origins` for people: ``122 measured, 245 predicted``."""
    return ", ".join(f"{count} {origin}" for origin, count in counts.items()) or "none"


@dataclass(frozen=True)
class Table:
    """Blocks and their latencies on one target; the latency of a network is their sum.

    Args:
        header: what the entries are of.
        entries: each block's measurement.
        failures: blocks that the target cannot run, and why; no subnet with one of them can be answered for.
        exceptions: (resolution, block): what a block costs in networks of that resolution, where the table's
            source says otherwise than `entries`. OFA's tables time a block anew for each resolution.
    """

    header: Header
    entries: dict[Block, Measurement]
    failures: dict[Block, str] = field(default_factory=dict)
    exceptions: dict[tuple[int, Block], Measurement] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Table:
        """The table at `path`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no table; the message names the file and the line.
        """
        found = store.read_contents(path)
        return cls(found.header, found.entries, found.failures, found.exceptions)

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
        return count_origins(self.entries.values())

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
        family = get_family(self.header.family)
        return family if self.header.classes is None else replace(family, classes=self.header.classes)

    @cached_property
    def family_as_built(self) -> Family:
        """:attr:`family`, with the resolutions that the table was built for among its own."""
        return self.family.with_resolutions(self.header.resolutions)

    def entry(self, block: Block, resolution: int | None = None) -> Measurement | None:
        """What `block` costs in a network of `resolution`; in any, if none is given. None if it is not known."""
        exception = self.exceptions.get((resolution, block)) if resolution is not None else None
        return exception or self.entries.get(block)

    def block_ms(self, block: Block, resolution: int | None = None) -> float:
        """The latency of :meth:`entry`, NaN if it is not known."""
        found = self.entry(block, resolution)
        return math.nan if found is None else found.latency_ms

    def resolution_of(self, blocks: Sequence[Block]) -> int | None:
        """Of the network that `blocks` are; None if they begin with no image of the family."""
        return blocks[0].in_shape[1] if blocks and blocks[0].in_shape[0] == self.family.in_channels else None

    def latency_ms(self, blocks: Iterable[Block]) -> float:
        """Sum of the blocks' latencies.

        Raises:
            MissingEntry: some are not in the table; names the first and says how many.
        """
        blocks = tuple(blocks)
        if missing := [block for block in blocks if block not in self.entries]:
            failed = f" ({self.failures[missing[0]]})" if missing[0] in self.failures else ""
            raise MissingEntry(
                f"the table has no entry for {len(set(missing))} of the blocks, the first being {missing[0]}{failed}"
            )
        resolution = self.resolution_of(blocks)
        return math.fsum(self.block_ms(block, resolution) for block in blocks)

    @cached_property
    def lookup(self) -> Lookup:
        """The table's sums as arrays over the genotypes of its family."""
        return Lookup.build(self.family, self.block_ms)

    def predict(self, genotypes: Genotypes) -> NDArray[np.float64]:
        """:meth:`latency_ms` of each subnet, shape (n,), from genotypes of shape (n, 1 + slots).

        Raises:
            MissingEntry: a subnet has a block that is not in the table.
            ValueError: they are not genotypes of the table's family.
        """
        return self.lookup.predict(genotypes)

    # --- what the table can answer ---

    def missing(self, space: Space, resolutions: Sequence[int] | None = None) -> tuple[Block, ...]:
        """Blocks of `space` at `resolutions` (all unless given) that have no entry, but for those that cannot run:
        what a build would still measure."""
        known = self.entries.keys() | self.failures.keys()
        return tuple(block for block in space.all_blocks(resolutions) if block not in known)

    def coverage(self, space: Space, resolutions: Sequence[int] | None = None) -> float:
        """Share of the blocks of `space` at `resolutions` (all unless given) that have an entry, 0 to 1."""
        blocks = space.all_blocks(resolutions)
        return sum(block in self.entries for block in blocks) / len(blocks)

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Those of the family at which the table has a block that no other resolution uses, ascending."""
        family = self.family_as_built
        space = get_space("ofa", family)
        blocks = {r: space.all_blocks((r,)) for r in family.resolutions}
        used = Counter(block for of_one in blocks.values() for block in of_one)
        return tuple(
            r for r, of_one in blocks.items() if any(used[b] == 1 and b in self.entries for b in of_one)
        )

    def complete_resolutions(self, space: Space) -> tuple[int, ...]:
        """The resolutions at which every subnet of `space` that can run can be answered for, ascending."""
        return tuple(r for r in space.family.resolutions if not self.missing(space, (r,)))

    def widest_space(self) -> Space:
        """The largest space of the family that the table answers for in full at some resolution.

        Raises:
            MissingEntry: there is none: the table is not finished.
        """
        for space in spaces_of(self.family_as_built):
            if self.complete_resolutions(space):
                return space
        raise MissingEntry("the table is complete at no resolution of any space; finish it with build_lut")
