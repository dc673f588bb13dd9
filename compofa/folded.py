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
from compofa.supernet.static import StaticBlock, layer_path


def folded_block(block: Block, weights: Weights) -> StaticBlock:
    """A module that computes `block` with `weights`, without batch norm, in evaluation mode."""
    module = StaticBlock(block, folded=True)
    for operation in block.operations:
        for name in operation.weights:
            setattr(
                module.get_submodule(layer_path(operation)),
                name.rpartition(".")[2],
                _parameter(weights[name]),
            )
    return module.eval()


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
