"""What a block costs inside a network, as the difference in time of two networks.

A block timed alone pays for a call and a launch that a network pays once, gains nothing from fusion with its
neighbours, and starts where nothing else left the device busy. In a chain all of this is as in a network: so
the cost of a block is the time of a chain of 2K copies less that of K copies, over K, each copy with weights
of its own. A block that changes the shape cannot follow itself; it is put behind (or, where nothing could come
before it, in front of) two neighbours that keep the shape, and the time of the neighbours is taken away.

Times are subtracted round by round, and the networks of a pair take turns within a round, so drift cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backends.base import Network
from compofa.blocks import Block, total_params

Floats = NDArray[np.float64]

COPIES = 4
"""K: enough that its share of the pair's time stands out from the noise, few enough to time thousands."""
NEIGHBOURS = 2
"""One would stand at the border of the network itself; the second is a neighbour as in the middle of one."""
LEAST_CHANNELS = 8
"""Fewer are an image: no block of a network could come before one that takes them."""
SMALLEST = 1e-6
"""What a block costs at least, in runs of the reference; one whose time is lost in the noise of its pair is noisy."""


@dataclass(frozen=True)
class Context:
    """Two networks: `longer` is `shorter` and `copies` times a block."""

    longer: Network
    shorter: Network
    copies: int


def context_of(block: Block, copies: int = COPIES) -> Context:
    """The pair of networks that tells what `block` costs."""
    if block.in_shape == block.out_shape:
        return Context((block,) * (2 * copies), (block,) * copies, copies)
    if block.in_shape[0] >= LEAST_CHANNELS:
        lead = (neighbour(block.in_shape),) * NEIGHBOURS
        return Context((*lead, block), lead, 1)
    tail = (neighbour(block.out_shape),) * NEIGHBOURS
    return Context((block, *tail), tail, 1)


def neighbour(shape: tuple[int, int, int]) -> Block:
    """A cheap block that keeps `shape`: a depthwise and a point-wise convolution, or the latter where there is
    one pixel only."""
    channels, height, width = shape
    if height * width == 1:
        return Block("mix", shape, channels, act="relu")
    return Block("mbconv", shape, channels, channels, kernel=3, act="relu", shortcut=True)


@dataclass(frozen=True)
class Plan:
    """What to time to learn the costs of `blocks`: three networks for each, in this order: the longer and the
    shorter of its pair, and the block alone."""

    blocks: tuple[Block, ...]
    copies: int = COPIES

    @cached_property
    def contexts(self) -> tuple[Context, ...]:
        """Of each block."""
        return tuple(context_of(block, self.copies) for block in self.blocks)

    @property
    def triples(self) -> Iterator[tuple[Network, Network, Network]]:
        """The networks of each block."""
        for block, context in zip(self.blocks, self.contexts, strict=True):
            yield context.longer, context.shorter, (block,)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The distinct networks: blocks of one shape share their neighbours."""
        return tuple(dict.fromkeys(network for triple in self.triples for network in triple))

    def costs(self, longer: Floats, shorter: Floats) -> Floats:
        """Cost of each block in each round, never below :data:`SMALLEST`; from the times of the two
        networks of its pair, in any unit. All of shape (blocks, rounds)."""
        copies = np.array([[context.copies] for context in self.contexts])
        return np.maximum((longer - shorter) / copies, SMALLEST)

    def of(self, network: Network) -> tuple[Block, ...]:
        """The blocks that cannot be measured without `network`."""
        pairs = zip(self.blocks, self.triples, strict=True)
        return tuple(block for block, triple in pairs if network in triple)


# --- what fits into the device's memory together ---


def held_bytes(network: Network, batch: int, element_bytes: int) -> int:
    """Memory that a network ready to run holds on to: its weights, its input and its output."""
    values = math.prod(network[0].in_shape) + math.prod(network[-1].out_shape)
    return element_bytes * (total_params(network) + batch * values)


def working_bytes(network: Network, batch: int, element_bytes: int) -> int:
    """Memory for the activations while `network` runs: the input and the output of its largest layer."""
    values = max(max(block.hidden_channels, *_channels(block)) * _pixels(block) for block in network)
    return 2 * element_bytes * batch * values


def _channels(block: Block) -> tuple[int, int]:
    return block.in_shape[0], block.out_channels


def _pixels(block: Block) -> int:
    return block.in_shape[1] * block.in_shape[2]


def parts(sizes: Sequence[int], limit: int) -> list[slice]:
    """Runs of consecutive items whose sizes stay below `limit` together; a larger item is a run of its own."""
    found, start, total = [], 0, 0
    for i, size in enumerate(sizes):
        if i > start and total + size > limit:
            found.append(slice(start, i))
            start, total = i, 0
        total += size
    return [*found, slice(start, len(sizes))] if sizes else []
