"""Kernels of two runtimes that do the same work: convolutions and products with weights, whatever was fused to them."""

from __future__ import annotations

import math

from backends.kernels.kernel import Kernel, Tensor

CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "Convolution", "GroupConvolution")
PRODUCTS = ("Gemm", "FusedGemm", "MatMul", "FusedMatMul")

Work = tuple[str, tuple[int, ...], int]
"""What is done, the shape of the weights, and at how many places."""


def work(kernel: Kernel) -> Work | None:
    """The main work of a kernel, the same in each runtime; None of what has none that is told apart."""
    main = kernel.op.partition("+")[0]
    flowing = [t for t in kernel.inputs if t and not t.constant]
    weights = max((t for t in kernel.inputs if t and t.constant), key=lambda t: t.elements, default=None)
    if not flowing or weights is None:
        return None
    if main in CONVOLUTIONS and len(weights.shape) > 2:
        return "convolution", _filters(weights, main), math.prod(flowing[0].shape[2:])
    if main in PRODUCTS and len(weights.shape) == 2:
        inner = flowing[0].shape[-1]
        return "product", tuple(sorted(weights.shape)), flowing[0].elements // max(inner, 1)
    return None


def _filters(weights: Tensor, op: str) -> tuple[int, ...]:
    """(out, in / groups, ...): OpenVINO keeps groups apart."""
    shape = weights.shape
    return (shape[0] * shape[1], *shape[2:]) if op == "GroupConvolution" else shape
