"""How models and kernels are run by ONNX Runtime's CPU provider, and what it says where it cannot."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.files import real_inputs
from backends.kernels.runtime import Values
from backends.onnxruntime_cpu import PROVIDERS, numpy_type, session_options
from compofa.errors import InputError, RunFailed

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from backends.kernels.files import ModelFile

FETCHING_SEVERITY = 4
"""Of ONNX Runtime's messages: only fatal ones, as ours say what is wrong."""


def open_model(model: ModelFile, threads: int, write_to: Path | None = None) -> onnxruntime.InferenceSession:
    """The whole model, optimised as the runtime does by itself.

    Args:
        model: which.
        threads: of one run.
        write_to: where the optimised model is to be written; its weights go into a file beside that.

    Raises:
        InputError: the runtime cannot run it; says why.
    """
    options = session_options(threads)
    if write_to:
        options.optimized_model_filepath = str(write_to)
        weights = f"{write_to.name}.weights"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
        )
        # It is never run: weights need not be there a second time, arranged for the kernels, nor in a growing arena.
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = False
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(model.folder)
    )
    given = model.proto.SerializeToString()
    return _session(given, options, lambda text: InputError(f"{model.name}: {_why_not(text)}"))


def open_as_is(
    model: bytes | Path,
    threads: int,
    *,
    folder: Path | None = None,
    thrifty: bool = False,
    shared: bool = False,
) -> onnxruntime.InferenceSession:
    """A model that is optimised already.

    Args:
        model: the file, or its content.
        threads: of one run.
        folder: where the files of its weights are, of a model that is no file.
        thrifty: give memory back after each run.
        shared: take memory from where all such sessions do, as the operators of one network do.

    Raises:
        RunFailed: the runtime cannot run it.
    """
    import onnxruntime

    options = session_options(threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if folder:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    if shared:
        _share_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
    if thrifty:
        options.enable_cpu_mem_arena = False
    return _session(
        str(model) if isinstance(model, Path) else model, options, lambda text: RunFailed(_first_line(text))
    )


@cache
def _share_memory() -> None:
    """Once in a process."""
    import onnxruntime
    from onnxruntime import OrtAllocatorType, OrtArenaCfg, OrtMemType

    memory = onnxruntime.OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)
    # No limit, as much as is asked for at a time, and the runtime's own choice of the rest.
    onnxruntime.create_and_register_allocator(memory, OrtArenaCfg(0, 1, -1, -1))


def _session(
    model: str | bytes, options: onnxruntime.SessionOptions, said: Callable[[str], Exception]
) -> onnxruntime.InferenceSession:
    import onnxruntime

    options.log_severity_level = FETCHING_SEVERITY
    try:
        return onnxruntime.InferenceSession(model, options, providers=PROVIDERS)
    except Exception as error:  # its own classes, of no common root
        raise said(str(error)) from error


def _first_line(text: str) -> str:
    """The message without ONNX Runtime's prefix and the places in its source."""
    line = " ".join(text.split())
    line = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line)
    line = re.sub(r"(\S*onnxruntime/\S+\.\w+:\d+ [^\n]*?(?:\)|\]) ?)", "", line)
    return line[:300]


def _why_not(text: str) -> str:
    if found := re.search(r"till opset (\d+)", text):
        return (
            f"it needs a newer opset than ONNX Runtime here has, which is {found[1]}: export it with that one, or "
            "install a newer onnxruntime"
        )
    if found := re.search(r"IR version: (\d+), max supported IR version: (\d+)", text):
        return (
            f"its file is of IR version {found[1]}, and ONNX Runtime here reads up to {found[2]}: export it with that "
            "one, or install a newer onnxruntime"
        )
    if found := re.search(r"(?:No Op registered for|No opset import for domain) ?'?([\w.]+)'?", text):
        return f"ONNX Runtime has no operator or domain {found[1]}: custom operators cannot be run"
    if found := re.search(r"([\w.:]+)\(-?\d+\) is not a registered function/op", text):
        return f"ONNX Runtime has no operator {found[1]}: custom operators cannot be run"
    return f"ONNX Runtime cannot run it: {_first_line(text)}"


# --- runs ---


def random_inputs(graph: onnx.GraphProto, seed: int) -> dict[str, NDArray[Any]]:
    """A value for each input of a graph of fixed shapes: normal numbers, ones where they are whole (tokens, masks).

    Raises:
        InputError: an input is no tensor of numbers.
    """
    rng = np.random.default_rng(seed)
    return {value.name: _random(rng, value) for value in real_inputs(graph)}


def _random(rng: np.random.Generator, value: onnx.ValueInfoProto) -> NDArray[Any]:
    from onnx import TensorProto, helper

    element = value.type.tensor_type.elem_type
    if element in (TensorProto.UNDEFINED, TensorProto.STRING):
        raise InputError(f"the input {value.name} is no tensor of numbers: hwbench makes up no others")
    dtype = helper.tensor_dtype_to_np_dtype(element)
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if dtype.kind == "f":
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype)
    return np.ones(shape, dtype)


def run(
    session: onnxruntime.InferenceSession, feeds: Values, names: Sequence[str] | None = None
) -> dict[str, NDArray[Any]]:
    """The outputs called `names`, all unless given.

    Raises:
        RunFailed: the runtime gave up.
    """
    wanted = list(names) if names is not None else [value.name for value in session.get_outputs()]
    try:
        return dict(zip(wanted, session.run(wanted, dict(feeds)), strict=True))
    except Exception as error:
        raise RunFailed(f"a run fails: {_first_line(str(error))}") from error


def bound_run(
    session: onnxruntime.InferenceSession, feeds: Values, takes: Values | None = None
) -> Callable[[], object]:
    """One run with inputs and outputs bound beforehand.

    Args:
        session: of the model.
        feeds: what it reads.
        takes: where it writes; memory of its own for outputs that are not there.
    """
    import onnxruntime

    binding = session.io_binding()
    held = []
    for name, array in feeds.items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)
        binding.bind_ortvalue_input(name, value)
        held.append((array, value))
    for output in session.get_outputs():
        room = (takes or {}).get(output.name)
        if room is None:
            room = _room(output.type, output.shape)
        if room is None:  # what shape it has is known after a run
            binding.bind_output(output.name, "cpu")
            continue
        value = onnxruntime.OrtValue.ortvalue_from_numpy(room, "cpu", 0)
        binding.bind_ortvalue_output(output.name, value)
        held.append((room, value))

    def once() -> object:
        session.run_with_iobinding(binding)
        return held  # whoever runs it keeps the memory alive

    return once


def _room(ort_type: str, shape: Sequence[Any]) -> NDArray[Any] | None:
    dtype = numpy_type(ort_type)
    if dtype is None or not hasattr(np, dtype) or not all(isinstance(size, int) for size in shape):
        return None
    return np.zeros(shape, dtype)
