"""The accuracy predictors that OFA published: their state dicts as an :class:`AccuracyPredictor`.

MobileNetV3's has 128 inputs (one-hot kernels of 20 blocks, one-hot expand ratios of 20 blocks, eight resolutions),
ResNet50D's 82 (eight resolutions, the stem's optional layer skipped or not, six widths, one-hot expand ratios of 18
blocks); both have three hidden ReLU layers of 400 and one output, the top-1 accuracy as a fraction (Cai et al.,
arXiv:1908.09791).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.layers import Layers
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.errors import InputError
from compofa.files import read_bounded
from compofa.spaces.family import Family
from compofa.spaces.features import feature_count
from compofa.spaces.layout import layout

RESOLUTIONS = tuple(range(112, 225, 16))
RESNET_RESOLUTIONS = (128, 144, 160, 176, 192, 224, 240, 256)


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
    resolutions = RESOLUTIONS
    try:
        if family.published == "resnet":
            layers, resolutions = (_resnet_inputs(family, *layers[0]), *layers[1:]), RESNET_RESOLUTIONS
        return AccuracyPredictor(family, "one-hot", layers, {"model": "published"}, resolutions)
    except InputError as error:
        raise InputError(f"not a published accuracy predictor of {family.name}: {error}") from error


def _resnet_inputs(
    family: Family, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A first layer over ResNet50D's published inputs as one over ours: ours has the resolutions last, and one input
    for the stem's optional layer, where the published has one for it skipped and one for it there."""
    sides, widths = len(RESNET_RESOLUTIONS), 3 * len(layout(family).wide_units)
    expands = feature_count(family) - 1 - widths
    if weight.ndim != 2 or weight.shape[1] != sides + 2 + widths + expands:
        raise InputError(
            f"a layer of shape {weight.shape} where {sides + 2 + widths + expands} inputs arrive"
        )
    side, skipped, there, width, expand = np.split(
        weight, [sides, sides + 1, sides + 2, sides + 2 + widths], axis=1
    )
    return np.hstack([expand, there - skipped, width, side]), bias + skipped[:, 0]


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
    import torch

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged pickle or zip there is no end of them
        raise InputError("neither a safetensors file nor a torch state dict") from error
    if isinstance(state, Mapping):
        state = state.get("state_dict", state)
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise InputError(f"holds a {type(state).__name__}, not a state dict")
    return state
