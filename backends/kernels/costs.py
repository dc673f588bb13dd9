"""Operations and bytes of a kernel, by its operator.

A multiply-accumulate counts as two operations, everything else as one an element. What moves data only does none.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from backends.kernels.kernel import Kernel, Tensor

Count = Callable[[Kernel], int]

COUNTED = "operations"
"""Among a kernel's attributes: what one run does, where several operators are one kernel."""
IN_PLACE_TITLE = " in place"
"""Ends the name of what a runtime does in place, at no cost, such as a split of neighbours."""
VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"}
"""What gives another name to the same memory: inside a network it costs its dispatch, alone it would copy."""
IN_PLACE: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), (0, 1)),
    **dict.fromkeys(
        (
            "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Neg", "Abs", "Exp", "Sqrt", "Reciprocal", "Log", "Elu",
            "Selu", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Softmax", "LogSoftmax", "QuickGelu",
            "Floor", "Ceil", "Not",
        ),
        (0,),
    ),
    **dict.fromkeys(("Conv", "FusedConv"), (3,)),
}  # fmt: skip
"""Inputs in whose place ONNX Runtime may write the first output, if nobody needs them any more: the sum that is fused
into a convolution is its fourth input."""
MOVES = {
    "Concat", "Expand", "Gather", "Pad", "ReorderInput", "ReorderOutput", "Slice", "Split", "Tile",
    "Transpose", "DepthToSpace", "SpaceToDepth", "GatherElements", "GatherND", "Shape", "Constant",
    "ConstantOfShape", "Cast",
}  # fmt: skip


def is_view(kernel: Kernel) -> bool:
    """Whether it only names memory anew."""
    return kernel.op in VIEWS or kernel.op.endswith(IN_PLACE_TITLE)


def operations(kernel: Kernel) -> int:
    """Arithmetic operations of one run; of fused operators, as whoever cut them out counted them."""
    if COUNTED in kernel.settings:
        return int(kernel.settings[COUNTED])
    return OPERATIONS.get(kernel.op, _each_output)(kernel)


def moved_bytes(kernel: Kernel) -> int:
    """Bytes that one run reads and writes, each once; those that it gathers from, not more than it gives."""
    if is_view(kernel):
        return 0
    if kernel.op in ("Gather", "GatherElements", "GatherND", "Slice"):
        return 2 * kernel.output_bytes
    return kernel.weight_bytes + kernel.input_bytes + kernel.output_bytes


def _tensor(kernel: Kernel, index: int) -> Tensor:
    found = kernel.inputs[index] if index < len(kernel.inputs) else None
    return found or Tensor("float32", ())


def _out(kernel: Kernel) -> int:
    return max((t.elements for t in kernel.outputs if t), default=0)


def _each_output(kernel: Kernel) -> int:
    return _out(kernel)


def _each_input(kernel: Kernel) -> int:
    return _tensor(kernel, 0).elements


def _none(kernel: Kernel) -> int:
    return 0


def _convolution(weight: int) -> Count:
    # A filter of shape (out, in / groups, ...) is applied at each output.
    return lambda kernel: 2 * _out(kernel) * math.prod(_tensor(kernel, weight).shape[1:])


def _transposed_convolution(kernel: Kernel) -> int:
    return 2 * _tensor(kernel, 0).elements * math.prod(_tensor(kernel, 1).shape[1:])


def _product(first: int = 0, transposed: str = "transA") -> Count:
    def count(kernel: Kernel) -> int:
        shape = _tensor(kernel, first).shape or (1,)
        inner = shape[-2] if kernel.settings.get(transposed) and len(shape) > 1 else shape[-1]
        return 2 * _out(kernel) * inner

    return count


def _attention(kernel: Kernel) -> int:
    """Of the input (batch, tokens, width) with the weights (width, 3 x width) in it."""
    shape = _tensor(kernel, 0).shape
    if len(shape) != 3:
        return 2 * _out(kernel)
    batch, tokens, _ = shape
    width = _out(kernel) // max(batch * tokens, 1)
    weights = 2 * batch * tokens * _tensor(kernel, 1).elements if _tensor(kernel, 1).constant else 0
    return weights + 4 * batch * tokens * tokens * width


def _pool(kernel: Kernel) -> int:
    return _out(kernel) * math.prod(kernel.settings.get("kernel_shape", ()))


def _recurrent(kernel: Kernel) -> int:
    """Of the input (steps, batch, in), the weights (directions, gates, in) and (directions, gates, hidden)."""
    shape = _tensor(kernel, 0).shape
    return 2 * math.prod(shape[:2]) * (_tensor(kernel, 1).elements + _tensor(kernel, 2).elements)


def _einsum(kernel: Kernel) -> int:
    terms = str(kernel.settings.get("equation", "")).replace(" ", "").split("->")[0].split(",")
    size: dict[str, int] = {}
    for term, tensor in zip(terms, kernel.inputs, strict=False):
        size |= dict(zip(term, tensor.shape if tensor else (), strict=False))
    return 2 * math.prod(size.values())


def _resized(kernel: Kernel) -> int:
    """Two operations for each of the points around that an output is made of."""
    around = {"linear": 4, "cubic": 16}.get(str(kernel.settings.get("mode", "nearest")), 1)
    return 2 * around * _out(kernel)


def _block_quantized(kernel: Kernel) -> int:
    return 2 * _out(kernel) * int(kernel.settings.get("K", 1))


OPERATIONS: dict[str, Count] = {
    **dict.fromkeys(("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger"), _convolution(1)),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "MatMulInteger"), _product()),
    **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul"), _product()),
    "MatMulNBits": _block_quantized,
    **dict.fromkeys(("Attention", "QAttention", "MultiHeadAttention"), _attention),
    **dict.fromkeys(("MaxPool", "AveragePool", "QLinearAveragePool", "LpPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "QLinearGlobalAveragePool"), _each_input),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ArgMax"), _each_input),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Einsum": _einsum,
    **dict.fromkeys(("Resize", "Upsample"), _resized),
    **dict.fromkeys(VIEWS | MOVES, _none),
}
