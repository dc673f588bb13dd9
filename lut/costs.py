"""What a subnet costs besides its latency, on any device: multiply-accumulates, parameters, memory for activations.

The first two are sums over blocks, so they are arrays over genotypes as a table's latencies are, and whatever searches
by the one does so by the other. Memory is not a sum: a network needs what its hungriest block needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compofa.blocks import Block
from compofa.errors import InputError
from compofa.spaces.family import Family
from compofa.spaces.space import Space
from lut.lookup import Lookup

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Of a value of each precision."""


@dataclass(frozen=True)
class Cost:
    """A cost that is a sum over blocks.

    Args:
        name: with its unit, as a column is called.
        words: with its unit, for people.
        of_block: what a block adds.
    """

    name: str
    words: str
    of_block: Callable[[Block], float]

    def lookup(self, family: Family) -> Lookup:
        """The cost as arrays over the genotypes of `family`."""
        return Lookup.build(family, lambda block, resolution: self.of_block(block))


MACS = Cost("macs_m", "MACs (M)", lambda block: block.macs / 1e6)
PARAMS = Cost("params_m", "parameters (M)", lambda block: block.params / 1e6)


def memory_mb(block: Block, precision: str, batch: int) -> float:
    """The most that a block holds at once of activations, in MB (10^6 bytes), weights left out. A network's is that of
    its hungriest block: between blocks nothing else is kept, since shortcuts end inside them."""
    return batch * block.peak_activations * BYTES[precision] / 1e6


def within_memory(space: Space, limit_mb: float, precision: str, batch: int) -> Space:
    """`space` less the subnets that need more memory for activations than `limit_mb`; exact.

    Raises:
        InputError: no subnet is left; says what the least hungry one needs.
    """
    needs = {block: memory_mb(block, precision, batch) for block in space.all_blocks()}
    kept = space.without(block for block, mb in needs.items() if mb > limit_mb)
    if not kept.resolutions:
        least = next(mb for mb in sorted(needs.values()) if space.without(_above(needs, mb)).resolutions)
        raise InputError(
            f"no subnet of space {space.name} needs {limit_mb:g} MB or less for activations ({precision}, batch "
            f"{batch}): the least hungry one needs {least:.4g} MB"
        )
    return kept


def _above(needs: dict[Block, float], limit_mb: float) -> list[Block]:
    return [block for block, mb in needs.items() if mb > limit_mb]
