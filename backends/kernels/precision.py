"""The same model in another precision, by ONNX Runtime's own tools.

``int8``: static quantisation (:mod:`backends.onnxruntime_int8`), ranges of activations from calibration data: random
ones unless given. Random data give a kernel's time as well as real ones; they say nothing about accuracy. ``fp16``:
weights and activations in half precision, input and output as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from backends.kernels.files import ModelFile
from backends.kernels.sessions import random_inputs
from backends.onnxruntime_int8 import RANDOM_INPUTS, Feeds, quantised, quietly
from compofa.errors import InputError, RunFailed

if TYPE_CHECKING:
    import onnx


def converted(
    model: ModelFile, precision: str, seed: int = 0, calibration: Sequence[Feeds] = ()
) -> ModelFile:
    """`model` in `precision`.

    Args:
        model: in fp32.
        precision: one of :data:`CONVERSIONS`, or ``fp32`` for the model as it is.
        seed: of random calibration data.
        calibration: inputs by name, for the ranges of activations.

    Raises:
        InputError: there is no such precision.
        RunFailed: the model cannot be converted.
    """
    if precision == "fp32":
        return model
    if precision not in CONVERSIONS:
        raise InputError(f"unknown precision {precision!r}; there are fp32, {', '.join(CONVERSIONS)}")
    feeds = list(calibration) or _random_feeds(model, seed)
    try:
        with quietly():
            proto = CONVERSIONS[precision](_whole(model), feeds)
    except Exception as error:  # libraries' own, of no common root
        text = " ".join(str(error).split())[:200]
        raise RunFailed(f"{model.name} cannot be made {precision}: {type(error).__name__}: {text}") from error
    return ModelFile(model.name, proto, model.folder, proto.ByteSize())


def _random_feeds(model: ModelFile, seed: int) -> list[Feeds]:
    return [random_inputs(model.proto.graph, seed + i) for i in range(RANDOM_INPUTS)]


def _whole(model: ModelFile) -> onnx.ModelProto:
    """The model with all of its weights."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    load_external_data_for_model(proto, str(model.folder))
    return proto


def _fp16(proto: onnx.ModelProto, feeds: Sequence[Feeds]) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    found: onnx.ModelProto = convert_float_to_float16(proto, keep_io_types=True)
    return found


CONVERSIONS: dict[str, Callable[[Any, Sequence[Feeds]], Any]] = {"int8": quantised, "fp16": _fp16}
