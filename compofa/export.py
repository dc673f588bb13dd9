"""A trained subnet as an ONNX model: its weights, batch norm folded, checked against torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compofa.blocks import Block
from compofa.blocks.operations import Convolution
from compofa.errors import InputError, RunFailed
from compofa.graph import network_to_onnx
from compofa.supernet.static import StaticBlock, layer_path

if TYPE_CHECKING:
    import onnx

Arrays = dict[str, NDArray[np.float32]]

TOLERANCE = 1e-3
"""Of the logits, relative to their largest: single precision, summed in another order."""


class ExportMismatch(RunFailed):
    """The exported model computes something else than the network."""


def export_onnx(network: nn.Sequential, blocks: Sequence[Block], batch: int = 1) -> onnx.ModelProto:
    """`network`, built from `blocks`, as an ONNX model, (batch, 3, side, side) -> (batch, classes), in evaluation
    mode.

    Raises:
        ValueError: the network is not made of these blocks.
    """
    weights = [folded_weights(module) for module in network]
    return network_to_onnx(blocks, batch=batch, weights=weights)


def folded_weights(module: nn.Module) -> Arrays:
    """The arrays of one block of a static network under the names of :func:`compofa.graph.weight_shapes`, batch
    norm folded with its running statistics.

    Raises:
        InputError: it is no block of a static network.
    """
    if not isinstance(module, StaticBlock):
        raise InputError(f"a {type(module).__name__} is no block of a static network")
    arrays: Arrays = {}
    for operation in module.block.operations:
        if isinstance(operation, Convolution) and operation.affine == "norm":
            arrays |= _folded(operation.name, module.layer_of(operation), module.norm_of(operation))
        else:
            for name in operation.weights:
                part = name.rpartition(".")[2]
                arrays[name] = _array(module.get_parameter(f"{layer_path(operation)}.{part}"))
    return arrays


def _folded(name: str, layer: nn.Conv2d | nn.Linear, bn: nn.BatchNorm2d) -> Arrays:
    assert bn.running_mean is not None and bn.running_var is not None
    # In double precision: the fold then adds no error of its own.
    scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    weight = layer.weight.double() * scale[:, None, None, None]
    bias = bn.bias.double() - bn.running_mean.double() * scale
    return {f"{name}.weight": _array(weight), f"{name}.bias": _array(bias)}


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())


@torch.inference_mode()
def check_onnx(model: onnx.ModelProto, network: nn.Module, batches: Iterable[Tensor]) -> float:
    """Run images through both, on the CPU; returns the largest difference of a logit, relative to the largest.

    Args:
        model: of a fixed batch size.
        network: in evaluation mode.
        batches: images, each (that batch size, channels, side, side).

    Raises:
        ExportMismatch: they differ by more than :data:`TOLERANCE`, or are not finite.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    worst = 0.0
    for x in batches:
        expected = network(x).numpy()
        found = session.run(["y"], {"x": x.contiguous().numpy()})[0]
        if not (np.isfinite(expected).all() and np.isfinite(found).all()):
            raise ExportMismatch("the network's logits, or those of its ONNX model, are not finite")
        largest = float(np.abs(expected).max())
        difference = float(np.abs(found - expected).max())
        worst = max(worst, difference / largest if largest else difference)
    if worst > TOLERANCE:
        raise ExportMismatch(f"the ONNX model's logits differ from torch's by {worst:.2g} of the largest")
    return worst
