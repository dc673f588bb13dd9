"""Blocks that tell much about networks are measured first."""

from __future__ import annotations

import numpy as np
import pytest

from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut.design import choose, next_blocks, shares
from lut.predictors.block_rows import KINDS, block_rows
from lut.predictors.residual import Fitted, Kernel
from lut.scores import mape_pct

SPACE = get_space("ofa", GLYPHS)
BLOCKS = SPACE.all_blocks()
RNG = np.random.default_rng(0)
NETWORKS = [SPACE.blocks(SPACE.sample(RNG)) for _ in range(100)]


def true_ms(block) -> float:  # type: ignore[no-untyped-def]
    return (0.01 + block.macs / 1e6) * (1 + 2 / block.in_shape[0]) * (1.2 if block.kernel == 7 else 1)


def test_shares_of_a_network_add_up_to_one() -> None:
    ms = {block: true_ms(block) for block in BLOCKS}
    found = shares(BLOCKS, NETWORKS, ms)
    assert found.shape == (len(NETWORKS), len(BLOCKS))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    first = NETWORKS[0]
    last = BLOCKS.index(first[-1])
    assert found[0, last] == pytest.approx(ms[first[-1]] / sum(ms[b] for b in first))


def test_what_all_networks_spend_their_time_on_comes_first() -> None:
    points = np.array([[0.0], [100.0], [200.0]])
    weights = np.array([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    assert choose(points, weights, Kernel(length=1.0), [], 3) == [1, 0, 2]


def test_the_neighbours_of_what_is_known_come_last() -> None:
    points = np.array([[0.0], [0.01], [100.0]])
    weights = np.array([[0.4, 0.4, 0.2]])
    kernel = Kernel(length=1.0)
    assert choose(points, weights, kernel, [], 2) == [0, 2]
    assert choose(points, weights, kernel, [0], 2) == [2, 1]


def test_each_pick_lowers_the_variance_as_the_gaussian_process_says() -> None:
    """The greedy gain against the posterior computed from scratch."""
    rng = np.random.default_rng(1)
    points, weights, kernel = rng.random((12, 3)), rng.random((5, 12)), Kernel(0.2, 0.7, 1e-3)

    def variance(known: list[int]) -> float:
        prior = kernel.between(points, points)
        cross = prior[:, known]
        inside = np.linalg.inv(prior[np.ix_(known, known)] + kernel.noise * np.eye(len(known)))
        return float(np.einsum("ni,ij,nj->", weights, prior - cross @ inside @ cross.T, weights))

    known = choose(points, weights, kernel, [4], 3)
    for i, pick in enumerate(known):
        before = [4, *known[:i]]
        best = min((j for j in range(12) if j not in before), key=lambda j: variance([*before, j]))
        assert pick == best


def test_one_block_of_each_kind_comes_first() -> None:
    batch = next_blocks(BLOCKS, NETWORKS, {}, 8, np.random.default_rng(0))
    assert {block.kind for block in batch[: len(KINDS)]} == set(KINDS)
    known = {block: true_ms(block) for block in batch}
    again = next_blocks(BLOCKS, NETWORKS, known, 20, np.random.default_rng(0))
    assert sum(block.kind == "mbconv" for block in again) > 15


def test_nothing_is_measured_twice_and_nothing_beyond_what_there_is() -> None:
    measured = {block: true_ms(block) for block in BLOCKS[:-10]}
    batch = next_blocks(BLOCKS, NETWORKS, measured, 32, np.random.default_rng(0))
    assert set(batch) == set(BLOCKS[-10:]) and len(batch) == 10


def test_a_third_of_the_blocks_chosen_predicts_networks_better_than_a_random_third() -> None:
    count = len(BLOCKS) // 3
    rng = np.random.default_rng(0)
    measured: dict = {}
    while len(measured) < count:
        for block in next_blocks(BLOCKS, NETWORKS, measured, min(32, count - len(measured)), rng):
            measured[block] = true_ms(block)
    assert len(measured) == count
    error = network_error(measured)
    at_random = [
        network_error(
            {BLOCKS[i]: true_ms(BLOCKS[i]) for i in np.random.default_rng(s).permutation(len(BLOCKS))[:count]}
        )
        for s in range(4)
    ]
    assert error < 0.7 * np.mean(at_random)


def network_error(measured) -> float:  # type: ignore[no-untyped-def]
    """MAPE of sums over networks that the choice did not see."""
    fitted = Fitted.of(block_rows(list(measured)), np.array(list(measured.values())), with_kernel=True)
    ms = dict(zip(BLOCKS, fitted.predict(block_rows(BLOCKS))[0].tolist(), strict=True)) | measured
    rng = np.random.default_rng(99)
    networks = [SPACE.blocks(SPACE.sample(rng)) for _ in range(100)]
    truth = np.array([sum(map(true_ms, network)) for network in networks])
    return mape_pct(truth, np.array([sum(ms[block] for block in network) for network in networks]))
