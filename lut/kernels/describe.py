"""What is known of a kernel before it is measured: features, and the group of kernels that it is like."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from backends.kernels.costs import moved_bytes, operations
from backends.kernels.kernel import Kernel, Tensor
from lut.predictors.base import Rows

VECTOR = 16
"""Numbers of 4 bytes in the widest registers: what is no multiple of it is padded, or done piecemeal."""
ROUGH_OPERATIONS_PER_MS, ROUGH_BYTES_PER_MS, ROUGH_START_MS = 5e7, 1e7, 2e-3
DIMENSIONS = 4
CONVOLUTIONS = {"Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger"}
BINARY = {"Add", "Mul", "Sub", "Div", "Pow", "Max", "Min", "Where", "Equal", "Greater", "Less", "QLinearAdd"}


def group(kernel: Kernel) -> str:
    """Kernels of one group run the same code in the main, and are learned together."""
    name = f"{kernel.domain}:{kernel.op}" if kernel.domain else kernel.op
    if kernel.op in CONVOLUTIONS:
        return f"{name} {_convolution(kernel)}"
    if kernel.op == "Transpose":
        return f"{name} {_transposition(kernel)}"
    if kernel.op == "Resize":
        return f"{name} {kernel.settings.get('mode', 'nearest')}"
    if kernel.op in BINARY:
        shapes = {t.shape for t in kernel.inputs if t}
        return f"binary {'alike' if len(shapes) == 1 else 'broadcast'}"
    if kernel.op in ("MatMul", "FusedMatMul"):
        constant = any(t and t.constant for t in kernel.inputs)
        return "MatMul with weights" if constant else "MatMul of activations"
    return name


def _weights(kernel: Kernel) -> Tensor:
    """The largest constant; a number where there is none."""
    constants = [t for t in kernel.inputs if t and t.constant]
    return max(constants, key=lambda t: t.elements, default=Tensor("float32", ()))


def _convolution(kernel: Kernel) -> str:
    shape = _weights(kernel).shape
    groups = int(kernel.settings.get("group", 1))
    if groups == 1:
        first = kernel.inputs[0]
        if first and len(first.shape) > 1 and first.shape[1] < VECTOR / 2:
            return "from an image"
        return "pointwise" if math.prod(shape[2:]) == 1 else "dense"
    return "depthwise" if len(shape) > 1 and shape[1] == 1 else "grouped"


def _transposition(kernel: Kernel) -> str:
    """What stays together is copied; one axis that moves has a loop of its own; all else goes element by element."""
    order = list(kernel.settings.get("perm") or ())
    if order and order[-1] == len(order) - 1:
        return "rows"
    return "one axis" if _moves_one_axis(order) else "elements"


def _moves_one_axis(order: Sequence[int]) -> bool:
    return any(
        [a for a in order if a != axis] == [a for a in range(len(order)) if a != axis] for axis in order
    )


def rows(kernels: Sequence[Kernel]) -> Rows:
    """Features of n kernels of one group, or of several; times in ms that they are held against include
    :data:`lut.kernels.learned.NODE_MS`."""
    ones = np.ones((len(kernels), 1))
    work = np.array([_work(kernel) for kernel in kernels], dtype=float)
    general = np.array([_columns(kernel) for kernel in kernels], dtype=float)
    prior = (
        work[:, 0] / ROUGH_OPERATIONS_PER_MS + work[:, 2:].sum(axis=1) / ROUGH_BYTES_PER_MS + ROUGH_START_MS
    )
    return Rows({"launches": ones, "work": work}, general, prior)


def _work(kernel: Kernel) -> list[float]:
    done = operations(kernel)
    flowing = max(moved_bytes(kernel) - kernel.weight_bytes, 0)
    return [done, done * _padding(kernel), flowing, kernel.weight_bytes]


def _padding(kernel: Kernel) -> float:
    """What vectors of full length would do more, as a factor."""
    last = next((t.shape[-1] for t in kernel.outputs if t and t.shape), 1)
    return math.ceil(max(last, 1) / VECTOR) * VECTOR / max(last, 1)


def _columns(kernel: Kernel) -> list[float]:
    first = next((t for t in kernel.inputs if t and not t.constant), Tensor("float32", ()))
    second = next((t for t in kernel.inputs[1:] if t), Tensor("float32", ()))
    out = next((t for t in kernel.outputs if t), Tensor("float32", ()))
    settings = kernel.settings
    numbers = [
        *_dimensions(first),
        *_dimensions(second),
        *_dimensions(out),
        math.log1p(operations(kernel)),
        math.log1p(moved_bytes(kernel)),
        math.log1p(kernel.weight_bytes),
        math.log(_padding(kernel)),
        math.log(max(int(settings.get("group", 1)), 1)),
        math.log(max(math.prod(settings.get("strides", (1,))), 1)),
        math.log(max(math.prod(settings.get("kernel_shape", (1,))), 1)),
        float(sum(1 for t in kernel.inputs if t)),
        float(len(kernel.outputs)),
        2.0 * bool(settings.get("activation")),
        2.0 * bool(settings.get("transA")),
        2.0 * bool(settings.get("transB")),
        2.0 * (first.dtype != "float32"),
        *_order(settings.get("perm") or settings.get("axes") or [settings.get("axis", 0)]),
    ]
    return numbers


def _dimensions(tensor: Tensor) -> list[float]:
    """Logarithms of the last few sizes."""
    last = tensor.shape[-DIMENSIONS:]
    return [math.log(max(size, 1)) for size in (*(1,) * (DIMENSIONS - len(last)), *last)]


def _order(axes: Sequence[int]) -> list[float]:
    last = list(axes)[-DIMENSIONS:]
    return [float(axis) for axis in (*(0,) * (DIMENSIONS - len(last)), *last)]
