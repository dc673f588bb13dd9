"""What a block adds to a network, found by timing it alone but in the company of others.

A block is timed in rotation with the blocks of its batch, less the time of an all but empty network in the
same rotation. The rotation matters: run over and over, a block finds its weights in the nearest cache and its
branches predicted, and sums over networks come out low, the more the larger the network. In rotation about as
many blocks run between two runs of one as in a network, and sums come out somewhat high by a nearly constant
factor, which calibration takes care of. Differences between graphs with and without the block were sometimes
more and sometimes less exact, need several graphs a block, and can turn negative for the smallest blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice

import numpy as np

from backends.base import Measurement, Network
from backends.timing import Case, Sentinel, TimingSettings, summarise, time_interleaved
from compofa.blocks import Block, total_params

EMPTY = Block("pool", (1, 1, 1), 1)
"""One operator that does next to nothing: its time is that of the call."""
SENTINEL = Block("mbconv", (40, 20, 20), 40, 120, kernel=5, se=True, act="hswish", shortcut=True)
"""About 0.1 ms on a fast core, with every operator the networks use."""

BLOCK_TIMING = TimingSettings(
    rounds=11, max_rounds=22, inner_ms=0.0, max_overhead=1.0, rotation=24, round_ms=6.0
)
"""Single runs, of the empty network too: in a loop its second run would be warm. Reading the clock adds the
same to both and goes with the difference."""
NETWORK_TIMING = TimingSettings(rounds=11, max_rounds=22, inner_ms=0.0, rotation=1, round_ms=20.0)
"""Single runs, one network at a time. The median over runs leaves out those that another process
interrupted; the mean over an inner loop doubled on a busy machine."""

MAX_PARAMS = 40_000_000
"""Parameters held ready to run at a time; a runtime holds each about twice, in four bytes."""
SMALLEST_MS = 1e-6
"""What a block costs at least; one whose time is lost in that of the call is marked noisy."""

MakeCase = Callable[[Network, int], Case]
"""Makes a network, with random weights of the given seed, ready to be timed."""


def time_blocks(
    blocks: Sequence[Block], make_case: MakeCase, settings: TimingSettings, sentinel: Sentinel, seed: int
) -> tuple[list[Measurement], float]:
    """What each of `blocks` adds to a network that holds it, and the seconds spent timing.

    Args:
        blocks: a few dozen, held ready together.
        make_case: of a network of one block.
        settings: with a rotation.
        sentinel: of the same device.
        seed: of the weights, the order and the bootstrap.
    """
    if not blocks:
        return [], 0.0
    # A rotation of few blocks would find them warm: it is filled up with copies, of other weights.
    rotation = (settings.rotation or 1) - 1
    filled = islice(cycle(blocks), max(len(blocks), rotation))
    cases = [make_case((block,), seed + i) for i, block in enumerate((EMPTY, *filled))]
    timing = time_interleaved(cases, settings, sentinel=sentinel, seed=seed)
    empty_ms, blocks_ms = timing.rounds_ms[0], timing.rounds_ms[1 : len(blocks) + 1]
    cost_ms = np.maximum(blocks_ms - empty_ms, SMALLEST_MS)
    found = summarise(cost_ms, settings, steady=timing.steady, seed=seed)
    return [replace(m, noisy=m.noisy or m.low_ms <= SMALLEST_MS) for m in found], timing.timing_s


def time_networks(
    networks: Sequence[Network], make_case: MakeCase, settings: TimingSettings, sentinel: Sentinel, seed: int
) -> tuple[list[Measurement], float]:
    """End-to-end latency of each network, and the seconds spent timing; arguments as of :func:`time_blocks`."""
    found: list[Measurement] = []
    timing_s = 0.0
    for part in _parts(networks):
        cases = [make_case(network, seed) for network in part]
        timing = time_interleaved(cases, settings, sentinel=sentinel, seed=seed)
        timing_s += timing.timing_s
        found += summarise(timing.rounds_ms, settings, steady=timing.steady, seed=seed)
    return found, timing_s


def _parts(networks: Sequence[Network]) -> Iterator[list[Network]]:
    """`networks` in runs that fit in memory together."""
    part: list[Network] = []
    params = 0
    for network in networks:
        size = total_params(network)
        if part and params + size > MAX_PARAMS:
            yield part
            part, params = [], 0
        part.append(network)
        params += size
    if part:
        yield part
