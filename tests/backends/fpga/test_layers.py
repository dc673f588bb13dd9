"""Blocks lowered to layers compute the same."""

from __future__ import annotations

import pytest

from backends.fpga.layers import Layer, lower, total_macs
from compofa.blocks import Block
from compofa.spaces.registry import FAMILIES, get_family
from compofa.spaces.space import get_space


@pytest.mark.parametrize("family", FAMILIES)
def test_no_block_gains_or_loses_macs_or_shape(family: str) -> None:
    for block in get_space("ofa", get_family(family)).all_blocks():
        layers = lower(block)
        assert total_macs(layers) == block.macs, block
        assert layers[-1].out_shape == block.out_shape, block


def test_layers_of_an_mbconv_come_in_order() -> None:
    block = Block("mbconv", (40, 14, 14), 40, 120, kernel=5, se=True, act="hswish", shortcut=True)
    names = [layer.name for layer in lower(block)]
    assert names == ["expand", "depthwise", "se.pool", "se.reduce", "se.expand", "se.scale", "project"]
    assert lower(block)[-1].add and lower(block)[1].act == "hswish"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (("fold", (3, 8, 8), 8), "unknown layer kind 'fold'"),
        (("conv", (3, 0, 8), 8), "positive integers"),
        (("depthwise", (3, 8, 8), 8), "only a conv changes the channels"),
    ],
)
def test_what_is_no_layer_is_refused(fields: tuple[str, tuple[int, int, int], int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Layer(*fields)
