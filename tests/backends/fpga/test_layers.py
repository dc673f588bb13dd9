"""Blocks lowered to layers compute the same."""

from __future__ import annotations

from unittest import mock

import pytest

from backends.fpga.layers import Layer, lower, total_macs
from compofa.blocks import KINDS, Block
from compofa.blocks.kinds import Kind
from compofa.blocks.operations import Listing
from compofa.errors import InputError
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


def listed(block: Block, listing: Listing) -> None:
    """What the kind is called, letter by letter: c a convolution, h, r and g activations, + the sum with c's input."""
    first = value = listing.conv("first", listing.input, block.in_shape[0], 3)
    names = {"h": "hswish", "r": "relu", "g": "gelu"}
    for i, letter in enumerate(block.kind):
        if letter == "c":
            first, value = value, listing.conv(f"c{i}", value, block.in_shape[0], 3)
        elif letter == "+":
            value = listing.add(f"add{i}", first, value)
        else:
            value = listing.activation(names[letter], value, f"act{i}")


@pytest.mark.parametrize(
    ("kind", "fused", "says"),
    [
        ("ch", [("none", False), ("hswish", False)], None),
        ("c+r", [("none", False), ("relu", True)], None),
        ("hr", None, "does not know the operation Activation"),
        ("cg", None, "the FPGA model has no activation gelu"),
        ("c++", None, "does not know the operation Add"),
    ],
)
def test_what_is_fused_is_charged_or_refused(kind: str, fused, says: str | None) -> None:
    with mock.patch.dict(KINDS, {kind: Kind(listed, frozenset())}):
        block = Block(kind, (8, 4, 4), 8)
        if says:
            with pytest.raises(InputError, match=says):
                lower(block)
        else:
            assert [(layer.act, layer.add) for layer in lower(block)] == fused


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
