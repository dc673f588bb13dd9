"""Operations and bytes are those of the arithmetic that a kernel stands for."""

from __future__ import annotations

import pytest

from backends.kernels.costs import is_view, moved_bytes, operations
from backends.kernels.kernel import Kernel, Tensor


def kernel(op: str, inputs: list[str], outputs: list[str], **attributes: object) -> Kernel:
    fields = {"op": op, "since": 1, "inputs": inputs, "outputs": outputs, "attributes": attributes}
    return Kernel.from_dict(fields)


@pytest.mark.parametrize(
    ("op", "inputs", "output", "attributes", "expected"),
    [
        ("Conv", ["1x64x56x56", "32x64x3x3 constant"], "1x32x56x56", {}, 2 * 56 * 56 * 32 * 64 * 9),
        ("Conv", ["1x64x8x8", "64x1x3x3 constant"], "1x64x8x8", {"group": 64}, 2 * 64 * 64 * 9),
        ("ConvTranspose", ["1x8x4x4", "8x2x3x3 constant"], "1x2x6x6", {}, 2 * 8 * 16 * 2 * 9),
        ("MatMul", ["2x5x7", "7x3 constant"], "2x5x3", {}, 2 * 2 * 5 * 3 * 7),
        ("Gemm", ["7x5", "7x3 constant"], "5x3", {"transA": 1}, 2 * 5 * 3 * 7),
        ("Softmax", ["4x9"], "4x9", {}, 36),
        ("MaxPool", ["1x2x8x8"], "1x2x4x4", {"kernel_shape": [3, 3]}, 32 * 9),
        ("GlobalAveragePool", ["1x2x8x8"], "1x2x1x1", {}, 128),
        ("Einsum", ["2x3x4", "2x4x5"], "2x3x5", {"equation": "bij,bjk->bik"}, 2 * 2 * 3 * 4 * 5),
        ("Transpose", ["4x9"], "9x4", {}, 0),
    ],
)
def test_operations(
    op: str, inputs: list[str], output: str, attributes: dict[str, object], expected: int
) -> None:
    made = kernel(op, [f"float32 {text}" for text in inputs], [f"float32 {output}"], **attributes)
    assert operations(made) == expected


def test_bytes_are_counted_once_and_views_move_none() -> None:
    made = kernel("MatMul", ["float32 5x7", "float32 7x3 constant"], ["float32 5x3"])
    assert moved_bytes(made) == 4 * (35 + 21 + 15) and made.weight_bytes == 84
    view = kernel("Reshape", ["float32 5x7", "int64 2 constant 7,5"], ["float32 7x5"])
    assert is_view(view) and moved_bytes(view) == 0
    gathered = kernel("Gather", ["float32 1000x8 constant", "int64 3"], ["float32 3x8"])
    assert moved_bytes(gathered) == 2 * 4 * 24


def test_sizes_of_element_types() -> None:
    assert Tensor("float16", (3,)).size_bytes == 6
    assert Tensor("int4", (3,)).size_bytes == 2
    assert Tensor("bool", ()).size_bytes == 1
