"""Static networks as they are deployed: batch norm folded, the weights given.

The counterpart of :func:`compofa.export.folded_weights`: arrays by the names of
:func:`compofa.graph.weight_shapes` become a torch module.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compofa.blocks import Block, check_chain
from compofa.errors import InputError
from compofa.graph import Weights, random_weights
from compofa.layers import Classifier, ConvBN, MBConv, Mix, build_block


def folded_block(block: Block, weights: Weights) -> nn.Module:
    """A module that computes `block` with `weights`, without batch norm, in evaluation mode."""
    module = build_block(block)
    for child in module.modules():
        if isinstance(child, ConvBN):
            child.bn = nn.Identity()  # type: ignore[assignment]
    for name, layer in _layers(module).items():
        layer.weight = _parameter(weights[f"{name}.weight"])
        if f"{name}.bias" in weights:
            layer.bias = _parameter(weights[f"{name}.bias"])
    return module.eval()


def _layers(module: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers of one block that hold weights, under their names in :func:`compofa.graph.weight_shapes`."""
    if isinstance(module, ConvBN):
        return {"conv": module.conv}
    if isinstance(module, Mix):
        return {"mix": module.conv}
    if isinstance(module, Classifier):
        return {"linear": module.linear}
    if not isinstance(module, MBConv):
        return {}
    layers: dict[str, nn.Conv2d | nn.Linear] = {"expand": module.expand.conv} if module.expand else {}
    if module.se:
        layers |= {"se.reduce": module.se.reduce, "se.expand": module.se.expand}
    return layers | {"depthwise": module.depthwise.conv, "project": module.project.conv}


def _parameter(array: NDArray[np.float32]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(array), requires_grad=False)


def folded_network(blocks: Sequence[Block], *, seed: int = 0) -> nn.Sequential:
    """A network of random weights, the same as :func:`compofa.graph.network_to_onnx` draws from `seed`:
    (n, *in_shape of the first block) -> (n, *out_shape of the last), or (n, classes) after a classifier.

    Raises:
        ValueError: there is no block, or the blocks do not fit together.
    """
    if not blocks:
        raise InputError("a network needs at least one block")
    check_chain(tuple(blocks))
    rng = np.random.default_rng(seed)
    return nn.Sequential(*(folded_block(block, random_weights(block, rng)) for block in blocks)).eval()
