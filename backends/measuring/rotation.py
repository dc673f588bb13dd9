"""What a block adds to a network, found by timing it alone but in the company of others.

A block is timed in rotation with the blocks of its batch, less the time of an all but empty network in the
same rotation. The rotation matters: run over and over, a block finds its weights in the nearest cache and its
branches predicted, and sums over networks come out low, the more the larger the network. In rotation about as
many blocks run between two runs of one as in a network, and sums come out somewhat high by a nearly constant
factor, which calibration takes care of.

Each block is there twice, with weights and memory of its own: where a copy happens to lie makes a difference that no
number of rounds averages away, and two copies tell how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

import numpy as np

from backends.base import Measurement, Network
from backends.machine.clocks import Case
from backends.measuring.differencing import parts
from backends.measuring.pairing import Floats
from backends.measuring.reference import Beside
from backends.measuring.summary import summarise
from backends.measuring.timing import TimingSettings, time_beside
from compofa.blocks import Block, total_params

EMPTY = Block("pool", (1, 1, 1), 1)
"""One operator that does next to nothing: its time is that of the call."""

BLOCK_TIMING = TimingSettings(rotation=24, round_ms=2.0)
"""Single runs, of the empty network too: in a loop its second run would be warm. Reading the clock adds the
same to both and goes with the difference."""
NETWORK_TIMING = TimingSettings(rotation=1, round_ms=16.0)
"""Single runs, one network at a time."""

COPIES = 2
MAX_BYTES = 2 * 2**30
"""Of blocks held ready to run at a time."""
MAX_PARAMS = 40_000_000
"""Parameters held ready to run at a time; a runtime holds each about twice, in four bytes."""
SMALLEST = 1e-6
"""What a block costs at least, in runs of the reference; one whose time is lost in that of the call is noisy."""

MakeCase = Callable[[Network, int], Case]
"""Makes a network, with random weights of the given seed, ready to be timed."""


@dataclass(frozen=True)
class Bench:
    """Where and how things are timed.

    Args:
        make_case: of a network of one block or more.
        beside: the reference, on the same device.
        seed: of the weights, the order and the bootstrap.
        holds: bytes that a block takes while it is ready to run.
    """

    make_case: MakeCase
    beside: Beside
    seed: int = 0
    holds: Callable[[Block], int] = lambda block: 0

    def blocks(self, blocks: Sequence[Block], settings: TimingSettings) -> tuple[list[Measurement], float]:
        """What each of `blocks`, a few dozen, adds to a network that holds it, and the seconds spent timing."""
        found: list[Measurement] = []
        timing_s = 0.0
        for part in parts([COPIES * self.holds(block) for block in blocks], MAX_BYTES):
            some, seconds = self._rotated(blocks[part], settings)
            found += some
            timing_s += seconds
        return found, timing_s

    def _rotated(self, blocks: Sequence[Block], settings: TimingSettings) -> tuple[list[Measurement], float]:
        """The same of blocks, at least one, that fit in memory together."""
        rotation = settings.rotation or COPIES * len(blocks)
        # A rotation of few blocks would find them warm: it is filled up with further copies. Large ones leave one
        # another nothing in a cache, and fill the memory.
        wanted, fit = -(-(rotation - 1) // len(blocks)), MAX_BYTES // max(1, sum(map(self.holds, blocks)))
        copies = max(COPIES, min(wanted, fit))
        filled = islice(cycle(blocks), copies * len(blocks))
        cases = [self.make_case((block,), self.seed + i) for i, block in enumerate((EMPTY, *filled))]
        timing = time_beside(self.beside.pacer, cases, settings, seed=self.seed)
        ratios = timing.ratios[1:].reshape(copies, len(blocks), -1)
        call = timing.ratios[0]
        call = np.where(np.isfinite(call), call, np.nanmedian(call))
        costs = np.maximum(ratios - call, SMALLEST)
        left_out = timing.paired.left_out[1:].reshape(copies, len(blocks)).mean(axis=0)
        found = summarise(
            mean_of_known(costs),
            self.beside.reference_ms,
            settings,
            paired=replace(timing.paired, left_out=left_out),
            spread=copy_spread(costs),
            seed=self.seed,
        )
        return [bounded(m, SMALLEST * self.beside.reference_ms) for m in found], timing.timing_s

    def networks(
        self, networks: Sequence[Network], settings: TimingSettings
    ) -> tuple[list[Measurement], float]:
        """End-to-end latency of each network, and the seconds spent timing."""
        found: list[Measurement] = []
        timing_s = 0.0
        for part in _parts(networks):
            cases = [self.make_case(network, self.seed) for network in part]
            timing = time_beside(self.beside.pacer, cases, settings, seed=self.seed)
            timing_s += timing.timing_s
            found += summarise(
                timing.ratios, self.beside.reference_ms, settings, paired=timing.paired, seed=self.seed
            )
        return found, timing_s


def bounded(measurement: Measurement, least_ms: float) -> Measurement:
    """`measurement`, its interval cut at `least_ms`, and noisy if it reaches down to there."""
    low_ms = max(measurement.low_ms, least_ms)
    return replace(measurement, low_ms=low_ms, noisy=measurement.noisy or low_ms <= least_ms)


def mean_of_known(costs: Floats) -> Floats:
    """The mean over copies, shape (..., rounds), of costs of shape (copies, ..., rounds): a long run is seldom left in
    peace, so in some rounds only some of the copies have a clean one. NaN in rounds in which none has."""
    known = np.isfinite(costs)
    count = known.sum(axis=0)
    mean: Floats = np.where(known, costs, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan)
    return mean


def copy_spread(costs: Floats) -> float:
    """Standard deviation of the mean over a block's copies, as a fraction, the same for all blocks: that of the
    typical one of those of which each copy has a clean run; 0 if there is none.

    Args:
        costs: shape (copies, blocks, rounds).
    """
    whole = np.isfinite(costs).any(axis=2).all(axis=0)
    if len(costs) < 2 or not whole.any():
        return 0.0
    each = np.nanmedian(costs[:, whole], axis=2)
    relative = each.std(axis=0, ddof=1) / np.maximum(np.abs(each.mean(axis=0)), SMALLEST)
    # The median of |normal| is 0.6745 of its standard deviation.
    return float(np.median(relative) / 0.6745 / np.sqrt(len(costs)))


def _parts(networks: Sequence[Network]) -> Iterator[list[Network]]:
    """`networks` in runs that fit in memory together."""
    part: list[Network] = []
    held = 0
    for network in networks:
        params = total_params(network)
        if part and held + params > MAX_PARAMS:
            yield part
            part, held = [], 0
        part.append(network)
        held += params
    if part:
        yield part
