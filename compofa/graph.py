"""Blocks to an ONNX model, directly: no torch, about a millisecond a block.

Batch norm is folded into the convolution before it, as every inference runtime does. Without trained
weights they are random: measuring a latency needs shapes, but zeros or exploding activations would make
some kernels faster or slower than they are in use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block, check_chain
from compofa.errors import InputError

if TYPE_CHECKING:
    import onnx

Weights = Mapping[str, NDArray[np.float32]]
"""One block's arrays by name, batch norm folded; names and shapes as in :func:`weight_shapes`."""

OPSET = 17
IR_VERSION = 8
"""The oldest that go together and hold every operator used, so that older runtimes read the model too."""

PRECISIONS = ("fp32", "fp16", "int8")

SHORTCUT_GAIN = 0.3
"""Scale of a residual branch: keeps the sum of many of order one."""


def weight_shapes(block: Block) -> dict[str, tuple[int, ...]]:
    """Name and shape of each array that `block` holds once batch norm is folded, in torch's layout:
    (out, in / groups, k, k) for a convolution, (out, in) for the classifier, (out,) for a bias."""
    cin, cout, kernel = block.in_shape[0], block.out_channels, block.kernel
    if block.kind == "pool":
        return {}
    if block.kind == "conv":
        return _with_bias("conv", cout, cin, kernel)
    if block.kind == "mix":
        return {"mix.weight": (cout, cin, 1, 1)}
    if block.kind == "linear":
        return {"linear.weight": (cout, cin), "linear.bias": (cout,)}
    hidden, squeeze = block.hidden_channels, block.se_channels
    shapes = _with_bias("expand", hidden, cin, 1) if block.expands else {}
    shapes |= _with_bias("depthwise", hidden, 1, kernel)
    if block.se:
        shapes |= _with_bias("se.reduce", squeeze, hidden, 1) | _with_bias("se.expand", hidden, squeeze, 1)
    return shapes | _with_bias("project", cout, hidden, 1)


def _with_bias(layer: str, out: int, fan: int, kernel: int) -> dict[str, tuple[int, ...]]:
    return {f"{layer}.weight": (out, fan, kernel, kernel), f"{layer}.bias": (out,)}


def random_weights(block: Block, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Random non-zero weights that keep activations of order one through a deep network.

    Scaled as in He et al. (2015), arXiv:1502.01852, with variance ``2 / fan_in`` before an activation and
    ``1 / fan_in`` elsewhere; uniform, which is several times faster to draw than normal.
    """
    weights = {}
    for name, shape in weight_shapes(block).items():
        layer, _, kind = name.rpartition(".")
        gain = 1.0 if layer in ("project", "linear") else math.sqrt(2)
        if layer == "project":
            # The gate of SE halves what it multiplies; a residual branch is kept small beside its input.
            gain *= (2 if block.se else 1) * (SHORTCUT_GAIN if block.shortcut else 1)
        std = 0.1 if kind == "bias" else gain / math.sqrt(math.prod(shape[1:]))
        array = rng.random(shape, dtype=np.float32)
        array -= np.float32(0.5)
        array *= np.float32(std * math.sqrt(12))
        weights[name] = array
    return weights


def network_to_onnx(
    blocks: Sequence[Block],
    *,
    batch: int = 1,
    seed: int = 0,
    weights: Sequence[Weights] | None = None,
    precision: str = "fp32",
) -> onnx.ModelProto:
    """The network as an ONNX model of fixed shape.

    Args:
        blocks: the network, or any chain of blocks.
        batch: images in one run.
        seed: of the random weights.
        weights: one mapping per block, instead of random ones.
        precision: of weights, activations, input and output: ``fp32``, ``fp16``, or ``int8``, which is fp16
            with the inputs and weights of convolutions and of the classifier in int8
            (:mod:`compofa.graph_int8`).

    Returns:
        A model with the input ``x``, shape (batch, *in_shape of the first block), and the output ``y``,
        shape (batch, *out_shape of the last), or (batch, classes) after a classifier.

    Raises:
        ValueError: there is no block, the blocks do not fit together, the weights do not fit the blocks, or there
            is no such precision.
    """
    from onnx import helper

    if not blocks:
        raise InputError("a network needs at least one block")
    check_chain(tuple(blocks))
    if weights is None:
        rng = np.random.default_rng(seed)
        weights = [random_weights(block, rng) for block in blocks]
    elif len(weights) != len(blocks):
        raise InputError(f"{len(blocks)} blocks need as many sets of weights, not {len(weights)}")

    graph = _new_graph(precision)
    value = "x"
    for index, (block, arrays) in enumerate(zip(blocks, weights, strict=True)):
        _check_weights(block, arrays)
        value = _BUILDERS[block.kind](graph, f"block{index}.", value, block, arrays)
    graph.nodes[-1].output[0] = "y"

    last = blocks[-1]
    out_shape = (last.out_channels,) if last.kind == "linear" else last.out_shape
    proto = helper.make_graph(
        graph.nodes,
        "network",
        [helper.make_tensor_value_info("x", graph.element, (batch, *blocks[0].in_shape))],
        [helper.make_tensor_value_info("y", graph.element, (batch, *out_shape))],
        graph.initializers,
    )
    opset = [helper.make_opsetid("", graph.opset)]
    return helper.make_model(proto, opset_imports=opset, ir_version=graph.ir_version, producer_name="hwbench")


def _new_graph(precision: str) -> Graph:
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; there are {', '.join(PRECISIONS)}")
    if precision == "int8":
        from compofa.graph_int8 import QuantizedGraph

        return QuantizedGraph()
    return Graph("f2" if precision == "fp16" else "f4")


def _check_weights(block: Block, weights: Weights) -> None:
    expected = weight_shapes(block)
    given = {name: tuple(array.shape) for name, array in weights.items()}
    if given != expected:
        raise InputError(f"{block} needs weights {expected}, not {given}")


class Graph:
    """Nodes and initializers in the making. Each node is named after the value it gives.

    Args:
        kind: of its floating-point numbers, as numpy writes it: ``f4`` or ``f2``.
    """

    opset, ir_version = OPSET, IR_VERSION

    def __init__(self, kind: str = "f4") -> None:
        from onnx import TensorProto

        self.kind = kind
        self.element = {"f4": TensorProto.FLOAT, "f2": TensorProto.FLOAT16}[kind]
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, array: NDArray[np.float32]) -> str:
        return self.tensor(name, self.element, np.ascontiguousarray(array, dtype=f"<{self.kind}"))

    def tensor(self, name: str, element: int, array: NDArray[Any]) -> str:
        from onnx import TensorProto

        tensor = TensorProto(name=name, data_type=element, dims=array.shape, raw_data=array.tobytes())
        self.initializers.append(tensor)
        return name

    def constants(self, prefix: str, layer: str, weights: Weights) -> list[str]:
        """The layer's weight and, if it has one, its bias."""
        names = [name for name in (f"{layer}.weight", f"{layer}.bias") if name in weights]
        return [self.constant(prefix + name, weights[name]) for name in names]

    def conv(
        self, prefix: str, layer: str, value: str, weights: Weights, *, stride: int = 1, groups: int = 1
    ) -> str:
        kernel = weights[f"{layer}.weight"].shape[-1]
        return self.node(
            "Conv",
            prefix + layer,
            value,
            *self.constants(prefix, layer, weights),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def gemm(self, prefix: str, layer: str, value: str, weights: Weights) -> str:
        return self.node("Gemm", prefix + layer, value, *self.constants(prefix, layer, weights), transB=1)

    def add(self, name: str, value: str, shortcut: str) -> str:
        return self.node("Add", name, value, shortcut)

    def activation(self, kind: str, value: str) -> str:
        if kind == "none":
            return value
        return self.node({"relu": "Relu", "hswish": "HardSwish"}[kind], f"{value}.{kind}", value)


def _conv(graph: Graph, prefix: str, value: str, block: Block, weights: Weights) -> str:
    value = graph.conv(prefix, "conv", value, weights, stride=block.stride)
    return graph.activation(block.act, value)


def _mix(graph: Graph, prefix: str, value: str, block: Block, weights: Weights) -> str:
    return graph.activation(block.act, graph.conv(prefix, "mix", value, weights))


def _pool(graph: Graph, prefix: str, value: str, block: Block, weights: Weights) -> str:
    return graph.node("GlobalAveragePool", f"{prefix}pool", value)


def _linear(graph: Graph, prefix: str, value: str, block: Block, weights: Weights) -> str:
    flat = graph.node("Flatten", f"{prefix}flatten", value)
    return graph.gemm(prefix, "linear", flat, weights)


def _mbconv(graph: Graph, prefix: str, block_input: str, block: Block, weights: Weights) -> str:
    value = block_input
    if block.expands:
        value = graph.activation(block.act, graph.conv(prefix, "expand", value, weights))
    value = graph.conv(prefix, "depthwise", value, weights, stride=block.stride, groups=block.hidden_channels)
    value = graph.activation(block.act, value)
    if block.se:
        value = _squeeze_excite(graph, prefix, value, weights)
    value = graph.conv(prefix, "project", value, weights)
    return graph.add(f"{prefix}add", value, block_input) if block.shortcut else value


def _squeeze_excite(graph: Graph, prefix: str, value: str, weights: Weights) -> str:
    gate = graph.node("GlobalAveragePool", f"{prefix}se.pool", value)
    gate = graph.activation("relu", graph.conv(prefix, "se.reduce", gate, weights))
    gate = graph.conv(prefix, "se.expand", gate, weights)
    gate = graph.node("HardSigmoid", f"{prefix}se.gate", gate, alpha=1 / 6, beta=0.5)
    return graph.node("Mul", f"{prefix}se", value, gate)


_BUILDERS: dict[str, Callable[[Graph, str, str, Block, Weights], str]] = {
    "conv": _conv,
    "mbconv": _mbconv,
    "pool": _pool,
    "mix": _mix,
    "linear": _linear,
}
