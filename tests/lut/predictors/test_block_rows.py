"""What is known of a block before it is measured: nothing missing, nothing that depends on the others."""

from __future__ import annotations

import numpy as np
import pytest

from compofa.blocks import Block
from compofa.spaces.registry import FAMILIES
from compofa.spaces.space import get_space
from lut.predictors.block_rows import DESCRIPTORS, KINDS, LAUNCHES, WORK, block_rows

BLOCK = Block("mbconv", (8, 9, 9), 16, hidden_channels=32, kernel=5, stride=2, se=True, act="hswish")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_any_two_blocks_differ(family) -> None:  # type: ignore[no-untyped-def]
    blocks = get_space("ofa", family).all_blocks()
    rows = block_rows(blocks)
    assert rows.general.shape == (len(blocks), len(DESCRIPTORS))
    assert len(np.unique(rows.general, axis=0)) == len(blocks)
    assert (rows.linear["launches"] >= 0).all() and (rows.linear["work"] >= 0).all()


def test_work_is_counted_as_the_block_counts_it() -> None:
    rows = block_rows([BLOCK])
    work = dict(zip(WORK, rows.linear["work"][0], strict=True))
    macs = sum(work[name] for name in ("pointwise MACs", "depthwise MACs", "squeeze MACs"))
    assert macs == pytest.approx(BLOCK.macs / 1e6)
    assert work["other MACs"] == 0
    # in 8 x 81, expanded 32 x 81, after the depthwise 32 x 25, out 16 x 25
    assert work["activations"] == pytest.approx((8 * 81 + 32 * 81 + 32 * 25 + 16 * 25) / 1e6)
    assert work["parameters"] == pytest.approx(BLOCK.params / 1e6)
    assert dict(zip(LAUNCHES, rows.linear["launches"][0], strict=True)) == dict.fromkeys(LAUNCHES, 1)


def test_other_kinds_do_their_work_elsewhere() -> None:
    mix = Block("mix", (64, 1, 1), 32, act="hswish")
    rows = block_rows([mix])
    work = dict(zip(WORK, rows.linear["work"][0], strict=True))
    assert work["other MACs"] == pytest.approx(mix.macs / 1e6)
    assert work["pointwise MACs"] == work["depthwise MACs"] == 0
    flags = dict(zip(DESCRIPTORS, rows.general[0], strict=True))
    assert [flags[kind] for kind in KINDS] == [kind == "mix" for kind in KINDS]


def test_padding_is_what_a_multiple_adds() -> None:
    flags = dict(zip(DESCRIPTORS, block_rows([BLOCK]).general[0], strict=True))
    assert flags["in side padded to 2"] == pytest.approx(2 / 9)  # 9 to 10
    assert flags["out side padded to 2"] == pytest.approx(2 / 5)  # 5 to 6
    assert flags["out pixels padded to 4"] == pytest.approx(2 * 3 / 25)  # 25 to 28


def test_no_blocks_are_no_rows() -> None:
    assert len(block_rows([])) == 0
