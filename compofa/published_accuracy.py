"""The accuracy predictor that OFA published: its state dict as an :class:`AccuracyPredictor`.

128 inputs (one-hot kernels of 20 blocks, one-hot expand ratios of 20 blocks, eight resolutions), three hidden
ReLU layers of 400, one output, the top-1 accuracy as a fraction (Cai et al., arXiv:1908.09791).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy_predictor import AccuracyPredictor, Layers
from compofa.errors import InputError
from compofa.families import Family
from compofa.files import read_bounded

RESOLUTIONS = tuple(range(112, 225, 16))


def from_published(family: Family, state: Mapping[str, Any]) -> AccuracyPredictor:
    """The predictor of a state dict with keys ``0.weight, 0.bias, 2.weight, ...``.

    Args:
        family: whose subnets it predicts.
        state: float arrays or tensors; any number and width of hidden layers.

    Raises:
        ValueError: the keys or shapes are not those of a published accuracy predictor.
    """
    numbers = sorted(
        {int(number) for key in state if re.fullmatch("[0-9]{1,3}", number := key.split(".")[0])}
    )
    expected = {f"{n}.{part}" for n in numbers for part in ("weight", "bias")}
    if not numbers or set(state) != expected:
        raise InputError(
            "not a published accuracy predictor: its keys are not 0.weight, 0.bias, 2.weight, ..."
        )
    layers: Layers = tuple((_array(state[f"{n}.weight"]), _array(state[f"{n}.bias"])) for n in numbers)
    try:
        return AccuracyPredictor(family, "one-hot", layers, {"model": "published"}, RESOLUTIONS)
    except InputError as error:
        raise InputError(f"not a published accuracy predictor of {family.name}: {error}") from error


def _array(value: Any) -> NDArray[np.float32]:
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"not a published accuracy predictor: {error}") from error
    if not np.isfinite(array).all():
        raise InputError("damaged: a weight is no finite number")
    return array


def load_published(family: Family, path: Path) -> AccuracyPredictor:
    """The predictor in a published file, safetensors or torch's, read without running any code from it.

    Raises:
        ValueError: as :func:`from_published`, or the file is neither.
        OSError: it cannot be read.
    """
    try:
        return from_published(family, _read(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _read(path: Path) -> Mapping[str, Any]:
    import torch
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = read_bounded(path)
    try:
        return load(content)
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
    ):  # the latter three: a number format of none of numpy's
        pass
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged pickle or zip there is no end of them
        raise InputError("neither a safetensors file nor a torch state dict") from error
    if isinstance(state, Mapping):
        state = state.get("state_dict", state)
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise InputError(f"holds a {type(state).__name__}, not a state dict")
    return state
