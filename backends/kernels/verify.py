"""Whether kernels that were cut out compute what they do inside the network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backends.kernels.runtime import Cut, Made
from compofa.errors import RunFailed

VALUES_BYTES = 64_000_000
"""Intermediate values that are held at a time."""


def errors(model: Made) -> Iterator[tuple[Cut, float]]:
    """Each node that can be cut out, and how far what it gives alone is from what the network has there: the largest
    difference over the largest value, infinite where it cannot be run."""
    for part in _parts(model):
        names = {n for cut in part for n in (*model.flowing_inputs(cut), *model.outputs(cut))}
        values = model.values(sorted(names))
        for cut in part:
            feeds = {name: values[name] for name in model.flowing_inputs(cut)}
            try:
                alone = model.computed(cut, feeds)
            except RunFailed:
                yield cut, float("inf")
                continue
            yield cut, max(_difference(alone[name], values[name]) for name in model.outputs(cut))


def _parts(model: Made) -> Iterator[list[Cut]]:
    part: list[Cut] = []
    held = 0
    for cut in model.cuts:
        if not cut.kernel:
            continue
        if part and held > VALUES_BYTES:
            yield part
            part, held = [], 0
        part.append(cut)
        held += cut.kernel.input_bytes + cut.kernel.output_bytes
    if part:
        yield part


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if not one.size or np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
        return 0.0
    difference = np.abs(one.astype(np.float64) - other.astype(np.float64)).max()
    return float(difference / max(np.abs(other.astype(np.float64)).max(), 1e-30))
