"""The memory that kernels work on while they are timed: a few buffers that all of them share.

Inside a network a kernel reads what the one before it has just written, and writes into memory that others have just
left. A kernel with buffers of its own would find neither in the caches, and all their buffers together would drive the
weights out. So the activations of all kernels lie in the same few places: one for what is read, one for what is
written, one for what is read and written over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.kernel import Tensor

ALIGNMENT = 64


class Pool:
    """Buffers, one for each element type, filled with random numbers.

    Args:
        seed: of the numbers.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._buffers: dict[str, NDArray[Any]] = {}

    def reserve(self, tensors: Sequence[Tensor]) -> None:
        """Make room for `tensors` at once. Called before anything is taken: views do not move."""
        need: dict[str, int] = {}
        for tensor in tensors:
            need[tensor.dtype] = need.get(tensor.dtype, 0) + _room(tensor)
        for dtype, elements in need.items():
            if elements > len(self._buffers.get(dtype, ())):
                self._buffers[dtype] = random_array(dtype, (elements,), self._seed)

    def take(self, tensors: Sequence[Tensor]) -> list[NDArray[Any]]:
        """A view for each of `tensors`, side by side; the next call gives the same places again."""
        used: dict[str, int] = {}
        found = []
        for tensor in tensors:
            start = used.get(tensor.dtype, 0)
            used[tensor.dtype] = start + _room(tensor)
            part = self._buffers[tensor.dtype][start : start + tensor.elements]
            found.append(part.reshape(tensor.shape))
        return found


def _room(tensor: Tensor) -> int:
    """Elements that it takes, the next one aligned."""
    return -(-max(tensor.elements, 1) // ALIGNMENT) * ALIGNMENT


def random_array(dtype: str, shape: Sequence[int], seed: int) -> NDArray[Any]:
    """Normal numbers; small whole ones where the type is whole."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f" or dtype == "bfloat16":
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)
