"""Static networks as torch modules: what is measured, exported and deployed.

A module is read off the operations of its block, so a new kind of block has one as soon as its operations are known.
The names of its parameters are those of the operations: ``project.conv.weight`` and ``project.bn.weight`` for a
convolution ``project`` with batch norm, ``se.reduce.weight`` for one without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compofa.blocks import Block
from compofa.blocks.operations import (
    INPUT,
    Activation,
    Add,
    Attention,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalAverage,
    LayerNorm,
    Multiply,
    Operation,
    Pool,
    unknown,
)
from compofa.errors import InputError
from compofa.graph import LAYER_NORM_EPS

BN_EPS = 1e-5
BN_MOMENTUM = 0.1

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "hswish": F.hardswish,
    "hsigmoid": F.hardsigmoid,
    "gelu": F.gelu,
}


Compute = Callable[..., Tensor]


class ChannelNorm(nn.Module):
    """Mean 0 and variance 1 over the channels of each pixel, then a scale and a shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return channel_norm(x, self.weight, self.bias)


def channel_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Over the channels of (n, channels, height, width)."""
    return F.layer_norm(x.movedim(1, -1), weight.shape, weight, bias, LAYER_NORM_EPS).movedim(-1, 1)


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Softmax attention over pixels; all of shape (n, channels, height, width)."""
    split = [x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3) for x in (queries, keys, values)]
    found = F.scaled_dot_product_attention(*split)
    return found.transpose(2, 3).reshape(values.shape)


class StaticBlock(nn.Module):
    """A module that computes `block`: (n, *in_shape) -> (n, *out_shape), or (n, classes) for a classifier.

    Args:
        block: what it computes.
        folded: without batch norm, which is folded into the convolutions: what is deployed.
        bn_eps: of batch norm.

    Attributes:
        dropout: probability of dropping a feature before a fully connected layer, while training.

    Raises:
        InputError: the block has an operation that is not known here.
    """

    norm_class = nn.BatchNorm2d

    def __init__(self, block: Block, folded: bool = False, bn_eps: float = BN_EPS) -> None:
        super().__init__()
        self.block, self.folded, self.bn_eps, self.dropout = block, folded, bn_eps, 0.0
        # Looked up once: a network of small blocks is run in less time than finding its layers would take.
        self._steps: list[tuple[Compute, tuple[str, ...], str]] = []
        for operation in block.operations:
            inputs = operation.inputs
            for compute in self.computes(operation):
                self._steps.append((compute, inputs, operation.name))
                inputs = (operation.name,)

    def forward(self, x: Tensor) -> Tensor:
        values = {INPUT: x}
        for compute, inputs, name in self._steps:
            values[name] = compute(*[values[each] for each in inputs])
        return values[name]

    def computes(self, op: Operation) -> list[Compute]:
        """What computes `op`, one after the other; its layers, if it has any, are made and placed in the block.

        Raises:
            InputError: the operation is not known here.
        """
        if type(op) not in _COMPUTES:
            raise unknown("torch", op)
        return _COMPUTES[type(op)](self, op)

    def layer_of(self, op: Operation) -> nn.Conv2d | nn.Linear:
        """The layer that holds the weights of `op`."""
        found = self.get_submodule(layer_path(op))
        assert isinstance(found, (nn.Conv2d, nn.Linear))
        return found

    def norm_of(self, op: Convolution) -> nn.BatchNorm2d:
        """The batch norm after `op`, which has one."""
        found = self.get_submodule(norm_path(op))
        assert isinstance(found, nn.BatchNorm2d)
        return found

    def _place(self, path: str, module: nn.Module) -> nn.Module:
        *folders, name = path.split(".")
        if hasattr(type(self), path.split(".")[0]):
            raise InputError(
                f"an operation cannot be called {path.split('.')[0]!r}: torch modules have that, too"
            )
        at: nn.Module = self
        for folder in folders:
            if not hasattr(at, folder):
                at.add_module(folder, nn.Module())
            at = getattr(at, folder)
        at.add_module(name, module)
        return module

    def _convolution(self, op: Convolution) -> list[Compute]:
        channels, normed = op.in_shapes[0][0], op.affine == "norm" and not self.folded
        layer = nn.Conv2d(channels, op.out_channels, op.kernel, op.stride, op.kernel // 2, groups=op.groups,
                          bias=op.affine != "none" and not normed)  # fmt: skip
        placed = [self._place(layer_path(op), layer)]
        if normed:
            placed.append(
                self._place(norm_path(op), self.norm_class(op.out_channels, self.bn_eps, BN_MOMENTUM))
            )
        return list(placed)

    def _fully_connected(self, op: FullyConnected) -> list[Compute]:
        return [self.drop, self._place(layer_path(op), nn.Linear(op.in_shapes[0][0], op.out_features))]

    def drop(self, x: Tensor) -> Tensor:
        """Dropout, while training."""
        return F.dropout(x, self.dropout, self.training)

    def _layer_norm(self, op: LayerNorm) -> list[Compute]:
        return [self._place(op.name, ChannelNorm(op.in_shapes[0][0]))]

    def _pool(self, op: Pool) -> list[Compute]:
        if op.how == "maximum":
            where = {"kernel_size": op.kernel, "stride": op.stride, "padding": op.padding}
            return [partial(F.max_pool2d, **where, ceil_mode=op.ceil)]
        return [nn.AvgPool2d(op.kernel, op.stride, op.padding, op.ceil, count_include_pad=False)]


def layer_path(op: Operation) -> str:
    """Where a block has the layer of an operation."""
    beside_norm = isinstance(op, Convolution) and op.affine == "norm" and op.name != "conv"
    return f"{op.name}.conv" if beside_norm else op.name


def norm_path(op: Convolution) -> str:
    """Where a block has the batch norm of a convolution."""
    return "bn" if op.name == "conv" else f"{op.name}.bn"


_COMPUTES: dict[type[Operation], Callable[[StaticBlock, Any], list[Compute]]] = {
    Convolution: StaticBlock._convolution,
    FullyConnected: StaticBlock._fully_connected,
    Pool: StaticBlock._pool,
    Flatten: lambda block, op: [partial(torch.flatten, start_dim=1)],
    GlobalAverage: lambda block, op: [partial(F.adaptive_avg_pool2d, output_size=1)],
    Activation: lambda block, op: [ACTIVATIONS[op.function]],
    Add: lambda block, op: [torch.add],
    Multiply: lambda block, op: [torch.mul],
    LayerNorm: StaticBlock._layer_norm,
    Attention: lambda block, op: [partial(attend, heads=op.heads)],
}


def build_network(blocks: Sequence[Block], bn_eps: float = BN_EPS) -> nn.Sequential:
    """A static network: (n, 3, resolution, resolution) -> (n, classes)."""
    return nn.Sequential(*(StaticBlock(block, bn_eps=bn_eps) for block in blocks))
