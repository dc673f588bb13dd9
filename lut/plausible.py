"""Entries of a table that do not fit the others: what one would look at before believing a sum that holds them.

Two rules, both loose enough for the saw teeth of real devices (vector units, tiles, a kernel with a special
implementation) and blind to the unit of the numbers:

*Order.* Of two blocks that differ in one thing only, kernel, hidden width or resolution, the larger one does more of
the same work. One that takes clearly less time than a smaller one does not fit, or the smaller one does not.

*Residual.* A robust line through the logarithms, latency against work and shape, with bisquare weights: an entry that
lies many typical residuals off, and by more than a factor, does not fit. Source: Beaton and Tukey, The fitting of power
series (1974); Huber and Ronchetti, Robust Statistics (2009), ch. 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.base import Measurement
from compofa.blocks import Block
from lut.robust import robust_spread
from lut.table import Table, known_entries

LEAST_SHARE = 0.8
"""Of a smaller block's latency, that a larger one takes at least. The published tables keep above 0.85 but where tiles
do not fit; the shipped one, too."""
FACTOR = 2.0
"""An entry that is off by less than this is not listed, however well the others fit."""
SPREADS = 6.0
"""Typical residuals (as standard deviations) that an entry must be off."""
MIN_ROWS = 30
"""Entries below which no line is fitted."""
ROUNDS = 30
BISQUARE = 4.685
"""In standard deviations: 95 % efficient when the residuals are normal."""


@dataclass(frozen=True)
class Oddity:
    """An entry that does not fit.

    Args:
        block: whose.
        resolution: of the networks that the entry is for; None for all.
        latency_ms: what the table says.
        reason: in words.
    """

    block: Block
    resolution: int | None
    latency_ms: float
    reason: str


def oddities(table: Table) -> list[Oddity]:
    """The entries of `table` that do not fit, predictions aside, those first that are furthest off.

    An entry is listed once. Where one entry explains several pairs that are out of order, it is listed and not
    those that it was compared with.
    """
    found = [*_out_of_line(table.entries), *_out_of_order(table.entries), *_out_of_step(table)]
    listed: dict[tuple[Block, int | None], Oddity] = {}
    for odd in sorted(found, key=lambda odd: -odd.off):
        entry = table.entry(odd.block, odd.resolution)
        if entry is not None:
            oddity = Oddity(odd.block, odd.resolution, entry.latency_ms, odd.reason)
            listed.setdefault((odd.block, odd.resolution), oddity)
    return list(listed.values())


class _Odd(NamedTuple):
    """An :class:`Oddity` in the making; `off` is a logarithm."""

    off: float
    block: Block
    resolution: int | None
    reason: str


def _out_of_step(table: Table) -> list[_Odd]:
    """Exceptions that are far from the block's own entry: it is the same work."""
    found = []
    for (resolution, block), m in table.exceptions.items():
        off = abs(math.log(m.latency_ms / table.entries[block].latency_ms)) if block in table.entries else 0.0
        if off > -math.log(LEAST_SHARE):
            text = f"at {resolution} px it is {m.latency_ms:.4g} ms, elsewhere {table.entries[block].latency_ms:.4g} ms"
            found.append(_Odd(off, block, resolution, text))
    return found


# --- order ---

ORDERED: dict[str, Callable[[Block], tuple[Block, int]]] = {
    "kernel": lambda b: (replace(b, kernel=1), b.kernel),
    "hidden channels": lambda b: (
        replace(b, hidden_channels=1 if b.hidden_channels else 0),
        b.hidden_channels,
    ),
    "an input side of": lambda b: (replace(b, in_shape=(b.in_shape[0], 1, 1)), b.in_shape[1]),
}
"""What two blocks may differ in: gives what they must share, and the size."""


def _out_of_order(entries: Mapping[Block, Measurement]) -> list[_Odd]:
    """One block of each pair that is out of order: that which stands in most such pairs."""
    pairs = list(_pairs_out_of_order(known_entries(entries)))
    found: list[_Odd] = []
    while pairs:
        times: dict[Block, int] = {}
        for _, small, large, _ in pairs:
            for block in (small, large):
                times[block] = times.get(block, 0) + 1
        worst = max(pairs, key=lambda pair: (max(times[pair[1]], times[pair[2]]), pair[0]))
        blamed = max(worst[1:3], key=lambda block: (times[block], block == worst[2]))
        off = max(pair[0] for pair in pairs if blamed in pair[1:3])
        reason = next(pair[3] for pair in pairs if blamed in pair[1:3] and pair[0] == off)
        found.append(_Odd(off, blamed, None, reason))
        pairs = [pair for pair in pairs if blamed not in pair[1:3]]
    return found


def _pairs_out_of_order(
    known: Mapping[Block, Measurement],
) -> Iterator[tuple[float, Block, Block, str]]:
    """(logarithm of how much faster, the smaller block, the larger one, in words)."""
    for what, split in ORDERED.items():
        groups: dict[Block, list[tuple[int, Block]]] = {}
        for block in known:
            shared, size = split(block)
            groups.setdefault(shared, []).append((size, block))
        for group in groups.values():
            for (small_size, small), (large_size, large) in pairwise(sorted(group, key=lambda item: item[0])):
                fast, slow = known[large], known[small]
                # By the intervals' near ends: a noisy entry says little.
                if fast.high_ms < LEAST_SHARE * slow.low_ms:
                    faster = 100 * (1 - fast.latency_ms / slow.latency_ms)
                    words = (
                        f"with {what} {large_size} it is {faster:.0f} % faster than with {small_size} "
                        f"({fast.latency_ms:.4g} and {slow.latency_ms:.4g} ms)"
                    )
                    yield math.log(slow.latency_ms / fast.latency_ms), small, large, words


# --- residual ---


def _out_of_line(entries: Mapping[Block, Measurement]) -> list[_Odd]:
    known = known_entries(entries)
    if len(known) < MIN_ROWS:
        return []
    latency = np.log([m.latency_ms for m in known.values()])
    residual, spread = robust_residuals(_features(list(known)), latency)
    limit = max(SPREADS * spread, math.log(FACTOR))
    found: list[_Odd] = []
    for block, off in zip(known, residual.tolist(), strict=True):
        if abs(off) > limit:
            much = f"{math.exp(abs(off)):.3g} times {'slower' if off > 0 else 'faster'}"
            found.append(_Odd(abs(off), block, None, f"it is {much} than blocks like it"))
    return found


def _features(blocks: list[Block]) -> NDArray[np.float64]:
    """Shape (n, columns): a constant for each kind, logarithms of the work and the values moved, flags."""
    kinds = sorted({block.kind for block in blocks})
    rows = [
        (
            *(float(block.kind == kind) for kind in kinds),
            math.log(block.macs + 1),
            math.log(block.bytes_moved()),
            math.log(block.in_shape[1]),
            math.log(block.hidden_channels or 1),
            block.kernel / 4,
            float(block.se),
            float(block.act == "hswish"),
            float(block.stride),
        )
        for block in blocks
    ]
    return np.array(rows, dtype=float)


def robust_residuals(
    features: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """What a robust linear fit leaves, shape (n,), and its typical size as a standard deviation.

    Args:
        features: shape (n, columns).
        values: shape (n,).
    """
    ridge = 1e-3 * np.eye(features.shape[1])  # kinds of which there is one block, flags that never vary
    weight = np.ones(len(values))
    for step in range(ROUNDS):
        weighted = features * weight[:, None]
        solution = np.linalg.solve(features.T @ weighted + ridge, weighted.T @ values)
        residual = np.asarray(values - features @ solution)
        spread = robust_spread(residual, 1e-6)
        if step < ROUNDS // 3:  # least absolute deviations first: bisquare weights need a fair start
            weight = 1 / np.maximum(np.abs(residual), 0.1 * spread)
        else:
            weight = np.maximum(1 - (residual / (BISQUARE * spread)) ** 2, 0) ** 2
    return residual, spread
