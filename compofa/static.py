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
    Convolution,
    Flatten,
    FullyConnected,
    GlobalAverage,
    Multiply,
    Operation,
    Pool,
    unknown,
)

BN_EPS = 1e-5
BN_MOMENTUM = 0.1

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "hswish": F.hardswish,
    "hsigmoid": F.hardsigmoid,
}


Compute = Callable[..., Tensor]


class StaticBlock(nn.Module):
    """A module that computes `block`: (n, *in_shape) -> (n, *out_shape), or (n, classes) for a classifier.

    Args:
        block: what it computes.
        folded: without batch norm, which is folded into the convolutions: what is deployed.

    Attributes:
        dropout: probability of dropping a feature before a fully connected layer, while training.

    Raises:
        InputError: the block has an operation that is not known here.
    """

    def __init__(self, block: Block, folded: bool = False) -> None:
        super().__init__()
        self.block, self.folded, self.dropout = block, folded, 0.0
        # Looked up once: a network of small blocks is run in less time than finding its layers would take.
        self._steps: list[tuple[Compute, tuple[str, ...], str]] = []
        for operation in block.operations:
            if type(operation) not in _COMPUTES:
                raise unknown("torch", operation)
            inputs = operation.inputs
            for compute in _COMPUTES[type(operation)](self, operation):
                self._steps.append((compute, inputs, operation.name))
                inputs = (operation.name,)

    def forward(self, x: Tensor) -> Tensor:
        values = {INPUT: x}
        for compute, inputs, name in self._steps:
            values[name] = compute(*[values[each] for each in inputs])
        return values[name]

    def layer(self, op: Operation) -> nn.Conv2d | nn.Linear:
        """The layer that holds the weights of `op`."""
        found = self.get_submodule(_layer_path(op))
        assert isinstance(found, (nn.Conv2d, nn.Linear))
        return found

    def norm(self, op: Convolution) -> nn.BatchNorm2d:
        """The batch norm after `op`, which has one."""
        found = self.get_submodule(_norm_path(op))
        assert isinstance(found, nn.BatchNorm2d)
        return found

    def _place(self, path: str, module: nn.Module) -> nn.Module:
        *folders, name = path.split(".")
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
        placed = [self._place(_layer_path(op), layer)]
        if normed:
            placed.append(self._place(_norm_path(op), nn.BatchNorm2d(op.out_channels, BN_EPS, BN_MOMENTUM)))
        return list(placed)

    def _fully_connected(self, op: FullyConnected) -> list[Compute]:
        return [self._drop, self._place(_layer_path(op), nn.Linear(op.in_shapes[0][0], op.out_features))]

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def _pool(self, op: Pool) -> list[Compute]:
        if op.how == "maximum":
            return [partial(F.max_pool2d, kernel_size=op.kernel, stride=op.stride, padding=op.padding)]
        return [nn.AvgPool2d(op.kernel, op.stride, op.padding, count_include_pad=False)]


def _layer_path(op: Operation) -> str:
    beside_norm = isinstance(op, Convolution) and op.affine == "norm" and op.name != "conv"
    return f"{op.name}.conv" if beside_norm else op.name


def _norm_path(op: Convolution) -> str:
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
}
"""What computes an operation, one after the other; its layers are made and placed in the block."""


def build_network(blocks: Sequence[Block]) -> nn.Sequential:
    """A static network: (n, 3, resolution, resolution) -> (n, classes)."""
    return nn.Sequential(*(StaticBlock(block) for block in blocks))
