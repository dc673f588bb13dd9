"""Quantised ONNX models: Q/DQ nodes with stated scales around convolutions and the classifier.

Inputs of convolutions, of the classifier and of the shortcut are quantised per tensor, weights per output
channel, both symmetrically (zero point 0), as TensorRT and ONNX Runtime fuse into int8 kernels; biases and
whatever lies between stay in fp16. The scale of a weight channel is its largest magnitude over 127. The scale of
every activation is :data:`ACTIVATION_RANGE` over 127: random weights keep activations of order one
(:func:`compofa.graph.random_weights`), and the scales do not change what a kernel costs. To deploy a trained
network, calibrate them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compofa.blocks.operations import Add, Convolution, FullyConnected
from compofa.graph import Graph, Weights

ACTIVATION_RANGE = 8.0
"""Largest magnitude of an activation that is not clipped."""
LEVELS = 127


class QuantizedGraph(Graph):
    """A graph in fp16 whose convolutions and classifier compute in int8."""

    opset, ir_version = 19, 9
    """The oldest that quantise fp16."""

    def __init__(self) -> None:
        super().__init__("f2")
        self._quantized: dict[str, str] = {}

    def conv(self, prefix: str, op: Convolution, inputs: Sequence[str], weights: Weights) -> str:
        return super().conv(prefix, op, [self.quantized(value) for value in inputs], weights)

    def gemm(self, prefix: str, op: FullyConnected, inputs: Sequence[str], weights: Weights) -> str:
        return super().gemm(prefix, op, [self.quantized(value) for value in inputs], weights)

    def add(self, prefix: str, op: Add, inputs: Sequence[str], weights: Weights) -> str:
        branch, shortcut = inputs
        return super().add(prefix, op, [branch, self.quantized(shortcut)], weights)

    def constants(self, prefix: str, layer: str, weights: Weights) -> list[str]:
        values = [self._weight(prefix + layer, weights[f"{layer}.weight"])]
        if f"{layer}.bias" in weights:
            values.append(self.constant(f"{prefix}{layer}.bias", weights[f"{layer}.bias"]))
        return values

    def quantized(self, value: str) -> str:
        """`value` rounded to int8 and back, once however many use it."""
        if value not in self._quantized:
            scale = self.constant(f"{value}.scale", np.array(ACTIVATION_RANGE / LEVELS, dtype=np.float32))
            zero = self._int8(f"{value}.zero", np.zeros((), dtype=np.int8))
            rounded = self.node("QuantizeLinear", f"{value}.quantized", value, scale, zero)
            self._quantized[value] = self.node(
                "DequantizeLinear", f"{value}.dequantized", rounded, scale, zero
            )
        return self._quantized[value]

    def _weight(self, name: str, array: NDArray[np.float32]) -> str:
        scale = np.abs(array).max(axis=tuple(range(1, array.ndim))) / LEVELS
        scale = np.maximum(scale.astype(np.float16), np.finfo(np.float16).tiny).astype(np.float32)
        rounded = np.clip(np.rint(array / scale.reshape(-1, *[1] * (array.ndim - 1))), -LEVELS, LEVELS)
        inputs = (
            self._int8(f"{name}.weight", rounded.astype(np.int8)),
            self.constant(f"{name}.weight.scale", scale),
            self._int8(f"{name}.weight.zero", np.zeros(len(array), dtype=np.int8)),
        )
        return self.node("DequantizeLinear", f"{name}.weight.dequantized", *inputs, axis=0)

    def _int8(self, name: str, array: NDArray[np.int8]) -> str:
        from onnx import TensorProto

        return self.tensor(name, TensorProto.INT8, array)
