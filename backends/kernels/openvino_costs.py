"""Operations of OpenVINO's operators, counted as those of ONNX are (:mod:`backends.kernels.costs`)."""

from __future__ import annotations

import math
from typing import Any

from backends.kernels.costs import MOVES, VIEWS

MOVING = MOVES | VIEWS | {
    "Broadcast", "Convert", "StridedSlice", "VariadicSplit", "Roll", "ReverseSequence", "ScatterNDUpdate",
    "ScatterElementsUpdate", "ShuffleChannels", "Parameter", "Result",
}  # fmt: skip
AROUND = {"linear": 4, "linear_onnx": 4, "bilinear_pillow": 4, "cubic": 16, "bicubic_pillow": 16}


def node_operations(node: Any) -> int:
    """Arithmetic operations of one run of an ``openvino.Node`` of fixed shapes."""
    kind, settings = node.get_type_name(), node.get_attributes()
    if kind in MOVING:
        return 0
    out = max((math.prod(one.get_shape()) for one in node.outputs()), default=0)
    shapes = [tuple(value.get_shape()) for value in node.input_values()]
    if kind in ("Convolution", "GroupConvolution"):
        # A filter of shape (out, in, ...), with the groups before that, is applied at each output.
        return 2 * out * math.prod(shapes[1][1 if kind == "Convolution" else 2 :])
    if kind in ("ConvolutionBackpropData", "GroupConvolutionBackpropData"):
        return 2 * math.prod(shapes[0]) * math.prod(shapes[1][1 if kind[0] == "C" else 2 :])
    if kind == "MatMul":
        one = shapes[0] or (1,)
        return 2 * out * (one[-2] if settings.get("transpose_a") and len(one) > 1 else one[-1])
    if kind in ("MaxPool", "AvgPool"):
        return out * math.prod(settings.get("kernel", ()))
    if kind == "Interpolate":
        return 2 * out * AROUND.get(str(settings.get("mode", "")), 1)
    if kind.startswith("Reduce"):
        return math.prod(shapes[0])
    if kind in ("LSTMSequence", "GRUSequence", "RNNSequence"):
        steps = math.prod(shapes[0][:2])
        return 2 * steps * sum(math.prod(shape) for shape in shapes[4:6])
    return out
