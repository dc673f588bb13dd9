"""Dense layers with ReLU between, by themselves: what an accuracy predictor computes once its inputs are there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from compofa.spaces.family import Family
from compofa.spaces.features import column_features, feature_count
from compofa.spaces.layout import Genotypes

Floats = NDArray[np.float64]
Layers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
"""(weight (out, in), bias (out,)) of each dense layer."""


@dataclass(frozen=True)
class RowSums:
    """A dense layer over :func:`one_hot`, as sums of rows: a product with inputs of which one in each group is 1,
    the others 0, only picks rows. Columns of genotypes are taken two by two, which halves the sum.

    Args:
        resolutions: what each resolution and the bias add, shape (resolutions, width).
        pairs: what each two neighbouring columns add, shape (pairs x values^2, width).
        values: that a column has, at most.
    """

    resolutions: NDArray[np.float32]
    pairs: NDArray[np.float32]
    values: int

    @classmethod
    def of(cls, family: Family, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> RowSums:
        """The layer of `weight` (width, inputs) and `bias` (width,)."""
        inputs = column_features(family)
        most = max(len(column.table) for column in inputs)
        # One more column, always 0, makes their number even.
        each = np.zeros((len(inputs) + len(inputs) % 2, most, len(bias)), dtype=np.float32)
        for rows, column in zip(each, inputs, strict=False):
            rows[: len(column.table)] = column.table @ weight.T[column.places]
        pairs = (each[0::2, :, None] + each[1::2, None]).reshape(-1, len(bias))
        return cls(weight.T[feature_count(family) :] + bias, pairs, most)

    def __call__(self, genotypes: Genotypes, out: NDArray[np.float32]) -> None:
        """Write the layer's values (n, width) of genotypes (n, columns)."""
        columns = genotypes[:, 1:].astype(np.intp)
        if columns.shape[1] % 2:
            columns = np.pad(columns, ((0, 0), (0, 1)))
        pair = columns[:, 0::2] * self.values + columns[:, 1::2]
        pair += np.arange(pair.shape[1]) * self.values**2
        # "clip" only because it skips a second check of the bounds.
        np.take(self.resolutions, genotypes[:, 0], axis=0, out=out, mode="clip")
        rows = np.empty_like(out)
        for column in pair.T:
            out += np.take(self.pairs, column, axis=0, out=rows, mode="clip")


def check_layers(inputs: int, layers: Layers, family: str) -> None:
    """Raise InputError unless `layers` take so many inputs and give one number; `family` is named in the message."""
    sizes = [inputs, *(weight.shape[0] for weight, _ in layers if weight.ndim)]
    for (before, after), (weight, bias) in zip(itertools.pairwise(sizes), layers, strict=True):
        if weight.shape != (after, before) or bias.shape != (after,):
            raise InputError(
                f"not an accuracy predictor of {family}: a layer of shape {weight.shape} where {before} inputs arrive"
            )
    if sizes[-1] != 1:
        raise InputError(f"not an accuracy predictor: {sizes[-1]} outputs, not 1")
    if not all(np.isfinite(array).all() for array in itertools.chain(*layers)):
        raise InputError("not an accuracy predictor: it holds numbers that are not finite")


def above(
    values: NDArray[np.float32], layers: Layers, out: Sequence[NDArray[np.float32] | None] | None = None
) -> Floats:
    """Outputs (n,) of the layers above one whose values (n, width), before the ReLU, are given and overwritten.

    Args:
        values: of the layer below.
        layers: those above it.
        out: memory for the values of each.
    """
    for (weight, bias), memory in zip(layers, out or [None] * len(layers), strict=True):
        np.maximum(values, 0, out=values)
        values = np.matmul(values, weight.T, out=memory)
        values += bias
    return values[:, 0].astype(np.float64)
