"""A user's own inputs: activations get their ranges from them, and they tell how far a quantised model is off."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from backends.kernels.files import ModelFile, real_inputs
from backends.kernels.sessions import open_model, run
from backends.onnxruntime_int8 import Feeds
from compofa.errors import InputError
from compofa.files import reading

UNREADABLE = (BadZipFile, EOFError, zlib.error, MemoryError, NotImplementedError, RuntimeError, SyntaxError)
"""What NumPy and zipfile raise on damage, besides errors of values."""


def read_feeds(path: Path, model: ModelFile) -> list[Feeds]:
    """Inputs for `model` from an .npz file: an array for each input, by its name, whose first dimension counts the runs
    and whose others are the input's.

    Raises:
        OSError: it cannot be read.
        InputError: it is no such file, or its arrays do not fit the model.
    """
    arrays = _arrays(path)
    wanted = {value.name: value.type.tensor_type for value in real_inputs(model.proto.graph)}
    if arrays.keys() != wanted.keys():
        raise InputError(
            f"{path} holds arrays called {', '.join(sorted(arrays)) or 'nothing'}; {model.name} has the inputs "
            f"{', '.join(sorted(wanted))}"
        )
    for name, array in arrays.items():
        shape = tuple(dim.dim_value for dim in wanted[name].shape.dim)
        if array.shape[1:] != shape:
            raise InputError(
                f"{path}: {name} has the shape {array.shape}; N runs need (N, {', '.join(map(str, shape))})"
            )
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1 or not min(counts):
        raise InputError(f"{path}: its arrays must be of the same number of runs, one or more")
    types = {name: _dtype(tensor.elem_type) for name, tensor in wanted.items()}
    return [
        {name: array[i].astype(types[name]) for name, array in arrays.items()} for i in range(min(counts))
    ]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with reading(path, "a .npz file of arrays"):
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except UNREADABLE as error:
            raise InputError(f"no .npz file, or a truncated one: {error}") from error
    if any(array.dtype.kind not in "fiub" or not array.ndim for array in found.values()):
        raise InputError(f"{path} holds something else than arrays of numbers")
    return found


def _dtype(element: int) -> np.dtype:
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(element))


def agreement(model: ModelFile, changed: ModelFile, feeds: Sequence[Feeds]) -> str:
    """How far `changed` is from `model` on `feeds`, in words: of the first output."""
    one, two = (_first_outputs(some, feeds) for some in (model, changed))
    error = np.sqrt(np.mean((two - one) ** 2) / max(np.mean(one**2), 1e-30))
    said = (
        f"on {len(feeds)} inputs given, its output is {100 * error:.1f} % (root mean square) off that in fp32"
    )
    if one.ndim < 2 or one.shape[-1] < 2:
        return said
    same = np.mean(one.argmax(axis=-1) == two.argmax(axis=-1))
    return f"{said}, and its largest value is at the same place {100 * same:.1f} times of 100"


def _first_outputs(model: ModelFile, feeds: Sequence[Feeds]) -> np.ndarray:
    session = open_model(model, threads=1)
    return np.stack([next(iter(run(session, given).values())) for given in feeds]).astype(np.float64)
