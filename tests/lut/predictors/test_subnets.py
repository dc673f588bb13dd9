"""The features of a subnet are those of its blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compofa.network import arch_blocks
from compofa.spaces.layout import encode, layout
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import get_space
from lut.predictors.subnets import MS_PER_BLOCK, MS_PER_COST, block_costs, subnet_rows


@given(seed=st.integers(0, 2**32), family=st.sampled_from(["glyphs", "imagenet-w1.2"]))
@settings(max_examples=20, deadline=None)
def test_costs_are_the_sums_over_the_blocks(seed: int, family: str) -> None:
    space = get_space("ofa", get_family(family))
    arch = space.sample(np.random.default_rng(seed))
    blocks = arch_blocks(space.family, arch)
    rows = subnet_rows(space.family, encode(space.family, [arch]))
    np.testing.assert_allclose(rows.linear["work"][0], np.sum([block_costs(b) for b in blocks], axis=0))
    elastic = blocks[2:-4]
    one, plain, with_se = rows.linear["launches"][0]
    assert (one, plain, with_se) == (1, sum(not b.se for b in elastic), sum(b.se for b in elastic))
    assert rows.linear["depths"][0].tolist() == list(arch.depths)
    work = np.sum([block_costs(b) for b in blocks], axis=0)
    assert rows.prior[0] == pytest.approx(MS_PER_BLOCK * len(elastic) + work @ MS_PER_COST)


def test_the_costs_of_a_block() -> None:
    block = get_space("ofa", GLYPHS).all_blocks((16,))[2]
    macs, depthwise, moved, weights = block_costs(block)
    assert macs == block.macs / 1e6 and weights == block.params / 1e6
    assert 0 < depthwise < macs
    assert moved > block.bytes_moved(1, 1) / 1e6 - weights


def test_each_choice_has_a_column_of_its_own() -> None:
    """Two subnets that differ in one kernel differ in the columns of that slot only."""
    one = np.zeros((1, 1 + layout(GLYPHS).slots), dtype=np.int16)
    one[:, [1, 2, 5, 6, 9, 10, 13, 14, 17, 18]] = 1
    other = one.copy()
    other[0, 2] = 2
    before, after = (subnet_rows(GLYPHS, genotype).linear["choices"][0] for genotype in (one, other))
    assert np.flatnonzero(before != after).tolist() == [9, 10]
    assert before.sum() == after.sum() == 10


@pytest.mark.parametrize(
    ("genotypes", "message"),
    [
        (np.zeros((1, 5), dtype=np.int16), r"shape \(n, 21\), not \(1, 5\)"),
        (np.full((1, 21), 99, dtype=np.int16), "out of range"),
        (np.full((1, 21), -1, dtype=np.int16), "out of range"),
    ],
)
def test_what_is_no_genotype_is_refused(genotypes: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        subnet_rows(GLYPHS, genotypes)


def test_no_subnets_are_no_rows() -> None:
    assert len(subnet_rows(GLYPHS, np.zeros((0, 21), dtype=np.int16))) == 0
