"""Blocks are their operations: what no room knows is refused by name, what it holds in memory is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from backends.fpga.layers import lower
from compofa.blocks import KINDS, Block
from compofa.blocks import kinds as kinds_module
from compofa.blocks.operations import Activation, Listing, Operation, Shape
from compofa.errors import InputError
from compofa.graph import network_to_onnx
from compofa.supernet.static import StaticBlock
from lut.formats.ofa_keys import ofa_key
from lut.predictors.block_rows import block_rows
from lut.predictors.subnets import block_costs


@dataclass(frozen=True)
class Fold(Operation):
    """An operation that no room knows."""

    @property
    def out_shape(self) -> Shape:
        return self.in_shapes[0]


def folding(block: Block, ops: Listing) -> None:
    ops._append(Fold("fold", (ops.input.name,), (ops.input.shape,)))


@pytest.mark.parametrize(
    ("room", "names"),
    [
        (lambda block: network_to_onnx([block]), "the ONNX graph does not know the operation Fold"),
        (StaticBlock, "torch does not know the operation Fold"),
        (lower, "the FPGA model does not know the operation Fold"),
        (ofa_key, "OFA's layout of tables does not know blocks of kind folding"),
        (lambda block: block_rows([block]), "the model of blocks does not know the operation Fold"),
        (block_costs, "the model of subnets does not know the operation Fold"),
    ],
)
def test_a_kind_that_a_room_does_not_know_is_refused_by_name(
    room: Callable[[Block], Any], names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "folding", kinds_module.Kind(folding, frozenset()))
    block = Block("folding", (8, 4, 4), 8)
    with pytest.raises(InputError, match=names):
        room(block)


BLOCKS = (
    Block("conv", (3, 16, 16), 8, kernel=3, stride=2, act="relu"),
    Block("mbconv", (8, 8, 8), 8, 24, kernel=5, se=True, act="hswish", shortcut=True),
    Block("mbconv", (8, 8, 8), 16, 24, kernel=3, stride=2, act="relu6"),
    Block("bottleneck", (16, 8, 8), 24, 8, kernel=3, stride=2, act="relu"),
    Block("bottleneck", (16, 8, 8), 16, 8, kernel=3, act="relu"),
    Block("pool", (16, 4, 4), 16),
    Block("linear", (16, 1, 1), 10),
)


def held(block: Block) -> int:
    """The most values held at once, counted by what each moment still needs."""
    sizes = {"": block.in_shape[0] * block.in_shape[1] * block.in_shape[2]}
    most = 0
    for i, operation in enumerate(block.operations):
        size = 1
        for side in operation.out_shape:
            size *= side
        sizes[operation.name] = size
        later = {name for after in block.operations[i + 1 :] for name in after.inputs}
        now = {*operation.inputs, *(name for name in sizes if name in later), operation.name}
        if isinstance(operation, Activation) and operation.inputs[0] not in later:
            now -= set(operation.inputs)
        most = max(most, sum(sizes[name] for name in now))
    return most


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_activations_held_at_once(block: Block) -> None:
    assert block.peak_activations == held(block)


def test_a_shortcut_keeps_the_input() -> None:
    plain = Block("mbconv", (8, 8, 8), 8, 24, kernel=3, act="relu")
    kept = Block("mbconv", (8, 8, 8), 8, 24, kernel=3, act="relu", shortcut=True)
    assert plain.peak_activations == 2 * 24 * 64  # before and after the depthwise convolution
    assert kept.peak_activations == plain.peak_activations + 8 * 64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "pool", "out_channels": 9}, "keeps its channels"),
        ({"kind": "mix", "kernel": 3}, "takes no kernel"),
        ({"kind": "linear", "se": True}, "takes no se"),
        ({"kind": "bottleneck"}, "needs hidden_channels"),
        ({"kind": "bottleneck", "hidden_channels": 4, "shortcut": True}, "takes no shortcut"),
        ({"kind": "conv", "shortcut": True, "stride": 2}, "shortcut needs stride 1"),
        ({"kind": "conv", "hidden_channels": 4}, "takes no hidden_channels"),
    ],
)  # fmt: skip
def test_fields_that_contradict_the_kind(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Block(**{"in_shape": (8, 4, 4), "out_channels": 8, **fields})
