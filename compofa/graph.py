"""Blocks to an ONNX model, directly: no torch, about a millisecond a block.

Batch norm is folded into the convolution before it, as every inference runtime does. Without trained
weights they are random: measuring a latency needs shapes, but zeros or exploding activations would make
some kernels faster or slower than they are in use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block, check_chain
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

if TYPE_CHECKING:
    import onnx

Weights = Mapping[str, NDArray[np.float32]]
"""One block's arrays by name, batch norm folded; names and shapes as in :func:`weight_shapes`."""

OPSET = 17
IR_VERSION = 8
"""The oldest that go together and hold every operator used, so that older runtimes read the model too."""

PRECISIONS = ("fp32", "fp16", "int8")

RELU6 = (("min", 0.0), ("max", 6.0))
LAYER_NORM_EPS = 1e-6
SHORTCUT_GAIN = 0.3
"""Scale of a residual branch: keeps the sum of many of order one."""


def weight_shapes(block: Block) -> dict[str, tuple[int, ...]]:
    """Name and shape of each array that `block` holds once batch norm is folded, in torch's layout:
    (out, in / groups, k, k) for a convolution, (out, in) for the classifier, (out,) for a bias."""
    return {name: shape for operation in block.operations for name, shape in operation.weights.items()}


def random_weights(block: Block, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Random non-zero weights that keep activations of order one through a deep network.

    Scaled as in He et al. (2015), arXiv:1502.01852, with variance ``2 / fan_in`` before an activation and
    ``1 / fan_in`` elsewhere; uniform, which is several times faster to draw than normal.
    """
    weights = {}
    for operation in block.operations:
        for name, shape in operation.weights.items():
            if isinstance(operation, LayerNorm) and name.endswith("weight"):
                weights[name] = np.ones(shape, dtype=np.float32)
                continue
            std = 0.1 if len(shape) == 1 else _gain(block, operation) / math.sqrt(math.prod(shape[1:]))
            array = rng.random(shape, dtype=np.float32)
            array -= np.float32(0.5)
            array *= np.float32(std * math.sqrt(12))
            weights[name] = array
    return weights


def _gain(block: Block, operation: Operation) -> float:
    """By which the weights of `operation` scale what it takes."""
    takers = [taker for taker in block.operations if operation.name in taker.inputs]
    gain = math.sqrt(2) if any(isinstance(taker, Activation) for taker in takers) else 1.0
    if any(isinstance(taker, Add) and taker.inputs[0] == operation.name for taker in takers):
        gain *= SHORTCUT_GAIN  # a residual branch is kept small beside its input
    if any(isinstance(giver, Multiply) and giver.name in operation.inputs for giver in block.operations):
        gain *= 2  # the gate of SE halves what it multiplies
    return gain


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
        value = graph.block(f"block{index}.", value, block, arrays)
    graph.nodes[-1].output[0] = "y"

    out_shape = blocks[-1].operations[-1].out_shape
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

    def block(self, prefix: str, value: str, block: Block, weights: Weights) -> str:
        """Append the operations of `block`, whose input is `value`; gives the name of its output."""
        values = {INPUT: value}
        for operation in block.operations:
            if type(operation) not in _METHODS:
                raise unknown("the ONNX graph", operation)
            append = getattr(self, _METHODS[type(operation)])
            inputs = [values[name] for name in operation.inputs]
            values[operation.name] = append(prefix, operation, inputs, weights)
        return values[block.operations[-1].name]

    def conv(self, prefix: str, op: Convolution, inputs: Sequence[str], weights: Weights) -> str:
        return self.node(
            "Conv",
            prefix + op.name,
            *inputs,
            *self.constants(prefix, op.name, weights),
            kernel_shape=[op.kernel] * 2,
            strides=[op.stride] * 2,
            pads=[op.kernel // 2] * 4,
            group=op.groups,
        )

    def gemm(self, prefix: str, op: FullyConnected, inputs: Sequence[str], weights: Weights) -> str:
        return self.node(
            "Gemm", prefix + op.name, *inputs, *self.constants(prefix, op.name, weights), transB=1
        )

    def flatten(self, prefix: str, op: Flatten, inputs: Sequence[str], weights: Weights) -> str:
        return self.node("Flatten", prefix + op.name, *inputs)

    def pool(self, prefix: str, op: Pool, inputs: Sequence[str], weights: Weights) -> str:
        return self.node(
            {"average": "AveragePool", "maximum": "MaxPool"}[op.how],
            prefix + op.name,
            *inputs,
            kernel_shape=[op.kernel] * 2,
            strides=[op.stride] * 2,
            pads=[op.padding] * 4,
            ceil_mode=int(op.ceil),
        )

    def global_average(self, prefix: str, op: GlobalAverage, inputs: Sequence[str], weights: Weights) -> str:
        return self.node("GlobalAveragePool", prefix + op.name, *inputs)

    def activation(self, prefix: str, op: Activation, inputs: Sequence[str], weights: Weights) -> str:
        name = prefix + op.name
        if op.function == "hsigmoid":
            return self.node("HardSigmoid", name, *inputs, alpha=1 / 6, beta=0.5)
        if op.function == "relu6":
            bounds = (self.constant(f"{name}.{side}", np.array(value)) for side, value in RELU6)
            return self.node("Clip", name, *inputs, *bounds)
        if op.function == "gelu":
            # By its definition, x (1 + erf(x / sqrt(2))) / 2: the operator is younger than our opset.
            half, one, root = (
                self.constant(f"{name}.{part}", np.array(value, dtype=np.float32))
                for part, value in (("half", 0.5), ("one", 1.0), ("root", 2**-0.5))
            )
            inner = self.node("Erf", f"{name}.erf", self.node("Mul", f"{name}.in", *inputs, root))
            gate = self.node("Mul", f"{name}.gate", self.node("Add", f"{name}.up", inner, one), half)
            return self.node("Mul", name, *inputs, gate)
        return self.node({"relu": "Relu", "hswish": "HardSwish"}[op.function], name, *inputs)

    def layer_norm(self, prefix: str, op: LayerNorm, inputs: Sequence[str], weights: Weights) -> str:
        name = prefix + op.name
        scale, shift = (
            self.constant(f"{name}.{part}", weights[f"{op.name}.{part}"]) for part in ("weight", "bias")
        )
        last = self.node("Transpose", f"{name}.in", *inputs, perm=[0, 2, 3, 1])
        normed = self.node(
            "LayerNormalization", f"{name}.norm", last, scale, shift, axis=-1, epsilon=LAYER_NORM_EPS
        )
        return self.node("Transpose", name, normed, perm=[0, 3, 1, 2])

    def attention(self, prefix: str, op: Attention, inputs: Sequence[str], weights: Weights) -> str:
        name, (channels, height, width) = prefix + op.name, op.in_shapes[0]
        size = channels // op.heads
        split = self._integers(f"{name}.heads", [0, op.heads, size, height * width])
        queries, keys, values = (
            self.node("Reshape", f"{name}.{part}", value, split)
            for part, value in zip(("queries", "keys", "values"), inputs, strict=True)
        )
        scale = self.constant(f"{name}.scale", np.array(size**-0.5, dtype=np.float32))
        turned = self.node("Transpose", f"{name}.turned", queries, perm=[0, 1, 3, 2])
        scaled = self.node(
            "Mul", f"{name}.scaled", self.node("MatMul", f"{name}.products", turned, keys), scale
        )
        shares = self.node("Softmax", f"{name}.shares", scaled, axis=-1)
        turned = self.node("Transpose", f"{name}.shares.turned", shares, perm=[0, 1, 3, 2])
        mixed = self.node("MatMul", f"{name}.mixed", values, turned)
        whole = self._integers(f"{name}.whole", [0, channels, height, width])
        return self.node("Reshape", name, mixed, whole)

    def _integers(self, name: str, values: Sequence[int]) -> str:
        from onnx import TensorProto

        return self.tensor(name, TensorProto.INT64, np.array(values, dtype=np.int64))

    def add(self, prefix: str, op: Add, inputs: Sequence[str], weights: Weights) -> str:
        return self.node("Add", prefix + op.name, *inputs)

    def multiply(self, prefix: str, op: Multiply, inputs: Sequence[str], weights: Weights) -> str:
        return self.node("Mul", prefix + op.name, *inputs)


_METHODS: dict[type[Operation], str] = {
    Convolution: "conv",
    FullyConnected: "gemm",
    Flatten: "flatten",
    Pool: "pool",
    GlobalAverage: "global_average",
    Activation: "activation",
    Add: "add",
    Multiply: "multiply",
    LayerNorm: "layer_norm",
    Attention: "attention",
}
"""Which method of :class:`Graph` appends which operation."""
