"""Which blocks to measure when not all can be: those that tell most about whole networks.

What counts is not a block's own error but what it does to networks: a block that many networks use, that takes
much of their time, and that no measured block resembles, is worth measuring; its neighbours then hardly are.
So blocks are picked one at a time, each the one whose measurement lowers most the variance of the predicted
latency, averaged over random networks of the space, under the Gaussian process that will predict the rest.

Some blocks are picked at random all the same: the others are where the model expects to learn, these show what
it does not expect. Without them its intervals come out too narrow (bench_budget.py --random-share 0).

Source: Cohn, Neural network exploration using optimal experiment design (1996); Seo et al., Gaussian process
regression: active data selection and test point rejection (2000). For linear models this is I-optimal design.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backends.base import Network
from compofa.blocks import Block
from lut.predictors.base import Floats
from lut.predictors.block_rows import block_rows
from lut.predictors.residual import MIN_ROWS, Fitted, Kernel

RANDOM_SHARE = 1 / 8
"""Of the blocks, those that are picked at random unless told otherwise."""


def next_blocks(
    blocks: Sequence[Block],
    networks: Sequence[Network],
    measured_ms: Mapping[Block, float],
    count: int,
    rng: np.random.Generator,
    random_share: float = RANDOM_SHARE,
) -> list[Block]:
    """The `count` of `blocks` to measure next, fewer if fewer are left.

    Args:
        blocks: those that may be measured, all that `networks` use among them.
        networks: whose latencies are to become known; random ones.
        measured_ms: what is known already.
        count: how many.
        rng: of the random ones.
        random_share: of the blocks, those that are picked at random, 0 to 1.
    """
    known = [i for i, block in enumerate(blocks) if block in measured_ms]
    count = min(count, len(blocks) - len(known))
    kernel, guess_ms = _belief(blocks, measured_ms)
    weights = shares(blocks, networks, guess_ms)
    best = _first_of_kinds(blocks, known, weights)[:count]
    rest = count - len(best)
    at_random = int(rng.binomial(rest, random_share))
    best += choose(block_rows(blocks).general, weights, kernel, [*known, *best], rest - at_random)
    others = np.setdiff1d(np.arange(len(blocks)), [*known, *best])
    return [blocks[i] for i in (*best, *rng.choice(others, at_random, replace=False).tolist())]


def _first_of_kinds(blocks: Sequence[Block], known: Sequence[int], weights: Floats) -> list[int]:
    """The block that networks spend most on, of each kind of which none is known."""
    largest: dict[str, int] = {}
    for i in np.argsort(-weights.sum(axis=0)).tolist():
        largest.setdefault(blocks[i].kind, i)
    seen = {blocks[i].kind for i in known}
    return [i for kind, i in largest.items() if kind not in seen]


def _belief(blocks: Sequence[Block], measured_ms: Mapping[Block, float]) -> tuple[Kernel, dict[Block, float]]:
    """How alike blocks are, and what each may cost: as fitted, or as expected before there is enough to fit."""
    rows = block_rows(blocks)
    if len(measured_ms) < MIN_ROWS:
        return Kernel(), dict(zip(blocks, rows.prior.tolist(), strict=True))
    latency = np.array(list(measured_ms.values()))
    fitted = Fitted.of(block_rows(list(measured_ms)), latency, with_kernel=True)
    return fitted.kernel or Kernel(), dict(zip(blocks, fitted.predict(rows)[0].tolist(), strict=True))


def shares(blocks: Sequence[Block], networks: Sequence[Network], latency_ms: Mapping[Block, float]) -> Floats:
    """Which part of each network's latency each of `blocks` takes, shape (networks, blocks)."""
    column = {block: i for i, block in enumerate(blocks)}
    found = np.zeros((len(networks), len(blocks)))
    for row, network in zip(found, networks, strict=True):
        for block in network:
            row[column[block]] += latency_ms[block]
    total: Floats = found / found.sum(axis=1, keepdims=True)
    return total


def choose(points: Floats, weights: Floats, kernel: Kernel, known: Sequence[int], count: int) -> list[int]:
    """Indices of the `count` points to measure next, most telling first.

    Args:
        points: descriptors of all blocks, shape (n, columns).
        weights: :func:`shares`, shape (networks, n).
        kernel: of relative latencies.
        known: indices of the points that were measured already; none of them comes again.
        count: how many, at most n - len(known).
    """
    covariance = kernel.between(points, points)
    spread = weights @ covariance  # of each network's latency with each point's
    left = np.ones(len(points), dtype=bool)
    for index in known:
        left[index] = False
        _learn(covariance, spread, index, kernel.noise)
    picked: list[int] = []
    for _ in range(count):
        gain = (spread**2).sum(axis=0) / (np.diag(covariance) + kernel.noise)
        picked.append(int(np.argmax(np.where(left, gain, -1.0))))
        left[picked[-1]] = False
        _learn(covariance, spread, picked[-1], kernel.noise)
    return picked


def _learn(covariance: Floats, spread: Floats, index: int, noise: float) -> None:
    """Condition both, in place, on a measurement of the point `index`."""
    row = covariance[index] / (covariance[index, index] + noise)
    spread -= np.outer(spread[:, index], row)
    covariance -= np.outer(covariance[index].copy(), row)
