"""Profiling in Python: a file, a model that is in memory, or a torch module."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch.nn import Module

    from backends.kernels.files import ModelFile
    from backends.onnxruntime_int8 import Feeds
    from hwbench.profiling.profiles import Profile


def profile(
    model: Path | str | ModelProto | Module,
    example: Sequence[Any] = (),
    *,
    backend: str = "onnxruntime",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    batch: int | None = None,
    precision: str = "fp32",
    threads: int = 1,
    seed: int = 0,
    calibration: Sequence[Feeds] = (),
) -> Profile:
    """Where the time of a model goes on this machine, by the kernels that a runtime made of it.

    >>> import hwbench
    >>> from onnx import TensorProto, helper
    >>> x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy")
    >>> graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "small", [x], [y])
    >>> model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    >>> found = hwbench.profile(model)
    >>> [group.name for group in found.by_operator()], found.latency_ms > 0
    (['Softmax'], True)

    Args:
        model: path of an ONNX file, an ``onnx.ModelProto``, or a torch module, which is exported by
            :func:`torch.export.export`.
        example: the tensors that a torch module is called with.
        backend: the runtime, ``onnxruntime`` or ``openvino``.
        shapes: of inputs that the model leaves open, by name.
        batch: first dimension of the inputs, if it is open.
        precision: ``fp32`` (the model as it is), ``int8`` or ``fp16``.
        threads: of one run.
        seed: of the input and the order of timing.
        calibration: inputs by name, for ``int8``; random ones unless given.

    Raises:
        OSError: the file cannot be read.
        InputError: the model cannot be read or run; says why.
        Unavailable: the runtime is not installed, or what exports a torch module.
        RunFailed: the model cannot be exported or converted.
    """
    from backends.kernels.precision import converted
    from hwbench.profiling.measuring import Profiler

    check_precision(precision, backend)
    profiler = Profiler(threads, seed, backend=backend)
    with tempfile.TemporaryDirectory(prefix="hwbench-") as folder:
        found = _read(model, example, Path(folder), shapes, batch)
        return profiler.profile(converted(found, precision, seed, calibration), precision)


def check_precision(precision: str, backend: str) -> None:
    """Raise InputError where `backend` does not take models in `precision`."""
    if precision != "fp32" and backend != "onnxruntime":
        raise InputError(
            f"{precision} is made by ONNX Runtime's tools, for --backend onnxruntime, not {backend}"
        )


def _read(
    model: Any,
    example: Sequence[Any],
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]] | None,
    batch: int | None,
) -> ModelFile:
    from onnx import ModelProto

    from backends.kernels.files import model_of, read_model

    if isinstance(model, ModelProto):
        copy = ModelProto()
        copy.CopyFrom(model)
        return model_of(copy, model.graph.name or "model", folder, shapes, batch)
    if isinstance(model, str | Path):
        return read_model(Path(model), shapes, batch)
    from hwbench.profiling.exporting import export

    return read_model(export(model, example, folder), shapes, batch)
