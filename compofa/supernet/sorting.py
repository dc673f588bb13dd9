"""Sorting the channels inside a block by importance, so that a narrower block takes the best ones.

Which channels belong together is read off the operations: those of a value that a depthwise convolution, an activation
or a gate hands on are the same channels. The input and the output of a block keep their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from compofa.blocks import Block
from compofa.blocks.operations import INPUT, Attention, Convolution, FullyConnected, LayerNorm, Operation
from compofa.supernet.elastic import ElasticBlock


@torch.no_grad()
def sort_channels(module: ElasticBlock, keep: Sequence[Block] = ()) -> None:
    """Reorder the channels inside a block by falling importance; the function of the largest block is unchanged.

    Importance is the L1 norm of the weights that take the channel, of the last operation that does (OFA's rule).

    Args:
        module: the block.
        keep: smaller blocks already trained: a channel stays within the narrowest of them that holds it. As in OFA
            this holds for channels behind a norm, not for those inside a gate.
    """
    for name, channels in _inner_channels(module.block).items():
        takers = [op for op in module.block.operations if _takes(op, channels)]
        importance = (
            module.layer_of(takers[-1]).weight.abs().sum(dim=_all_but(1, module.layer_of(takers[-1]).weight))
        )
        giver = _operation(module.block, name)
        sizes = [_operation(block, name).out_shape[0] for block in keep] if _is_normed(giver) else []
        order: list[int] = []
        for low, high in pairwise([0, *sorted(set(sizes)), len(importance)]):
            order += (torch.argsort(importance[low:high], descending=True, stable=True) + low).tolist()
        _reorder(module, channels, takers, torch.tensor(order))


def _operation(block: Block, name: str) -> Operation:
    return next(operation for operation in block.operations if operation.name == name)


def _is_normed(operation: Operation) -> bool:
    return isinstance(operation, Convolution) and operation.affine == "norm"


def _all_but(dim: int, weight: Tensor) -> list[int]:
    return [d for d in range(weight.ndim) if d != dim]


def _mixes(operation: Operation) -> bool:
    """Whether each channel that it gives is made of all that it takes."""
    return isinstance(operation, FullyConnected) or (
        isinstance(operation, Convolution) and operation.groups == 1
    )


def _inner_channels(block: Block) -> dict[str, set[str]]:
    """Names of the values that have the same channels, by the operation that gives them first; without those that may
    not be reordered."""
    of: dict[str, str] = {INPUT: INPUT}
    fixed = {INPUT}
    for operation in block.operations:
        if _mixes(operation):
            of[operation.name] = operation.name
            continue
        first, *others = (of[name] for name in operation.inputs)
        for other in others:  # two values that meet have the same channels
            of = {name: first if root == other else root for name, root in of.items()}
            fixed |= {first} if other in fixed else set()
        of[operation.name] = first
        if isinstance(operation, Attention) or (
            isinstance(operation, Convolution) and not operation.depthwise
        ):
            fixed.add(first)  # heads and groups are of neighbouring channels
    fixed |= {of[block.operations[-1].name]}
    found: dict[str, set[str]] = {}
    for name, root in of.items():
        if root not in fixed and of[root] == root:
            found.setdefault(root, set()).add(name)
    return found


def _takes(operation: Operation, channels: set[str]) -> bool:
    return _mixes(operation) and operation.inputs[0] in channels


def _reorder(module: ElasticBlock, channels: set[str], takers: Sequence[Operation], order: Tensor) -> None:
    for operation in takers:
        weight = module.layer_of(operation).weight
        weight.copy_(weight[:, order])
    for operation in module.block.operations:
        if operation.name not in channels:
            continue
        if isinstance(operation, (Convolution, FullyConnected)):
            layer = module.layer_of(operation)
            tensors = [layer.weight, layer.bias]
            if isinstance(operation, Convolution) and operation.affine == "norm":
                norm = module.norm_of(operation)
                tensors += [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        elif isinstance(operation, LayerNorm):
            tensors = [module.get_parameter(f"{operation.name}.{part}") for part in ("weight", "bias")]
        else:
            continue
        for tensor in tensors:
            if tensor is not None:
                tensor.copy_(tensor[order])
