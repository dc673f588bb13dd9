"""What goes into an engine and what comes out: the input, memory on the device, and whether the output is right.

What ONNX Runtime computes from the same model on the host is right; a sample of it is kept with the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compofa.errors import RunFailed

if TYPE_CHECKING:
    from backends.tensorrt import calls

TOLERANCES = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 2e-2, "int8": 0.2}
"""Most that an engine's output may differ from ONNX Runtime's, as a fraction of its norm: rounding of each
precision, summed in another order; in int8 a value at the edge falls to the next of 255 levels."""
SAMPLE = 4096
"""Values of the right output that are kept with an engine."""


class WrongOutput(RunFailed):
    """The engine computes something else than the model."""


class Memory(Protocol):
    """What is needed of a device to run an engine on it."""

    @property
    def name(self) -> str:
        """The device's."""

    @property
    def stream_handle(self) -> int:
        """CUDA's, of the stream to run on."""

    def array(self, values: NDArray[Any]) -> Any:
        """A copy on the device, with ``data_ptr()``."""

    def synchronize(self) -> None:
        """Wait for all that was begun."""

    def host(self, array: Any) -> NDArray[Any]:
        """A copy on the host."""


# --- inputs and outputs ---


def model_input(model: bytes) -> list[calls.Tensor]:
    """The one input of a serialised ONNX model."""
    import onnx

    from backends.tensorrt import calls

    (given,) = onnx.load_from_string(model).graph.input
    kind = given.type.tensor_type
    shape = tuple(dim.dim_value for dim in kind.shape.dim)
    numpy_kind = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return [calls.Tensor(given.name, shape, str(numpy_kind), True)]


def random_input(tensors: Sequence[calls.Tensor], seed: int) -> NDArray[Any]:
    """A value for the one input among `tensors`, shape (batch, ...)."""
    (given,) = (tensor for tensor in tensors if tensor.is_input)
    values = np.random.default_rng(seed).standard_normal(given.shape, dtype=np.float32)
    return values.astype(given.kind)


def bind(engine: calls.Engine, memory: Memory, x: NDArray[Any]) -> dict[str, Any]:
    """The engine's input, filled with `x`, and its outputs on the device, by name; keep them as long as it runs."""
    arrays = {}
    for tensor in engine.tensors():
        values = x if tensor.is_input else np.zeros(tensor.shape, dtype=tensor.kind)
        arrays[tensor.name] = memory.array(values)
        engine.bind(tensor.name, arrays[tensor.name].data_ptr())
    return arrays


# --- what is right ---


def ends(images: NDArray[Any]) -> NDArray[Any]:
    """The first and the last image of a batch, shape (1 or 2, ...): what is checked of it."""
    return images if len(images) < 2 else images[[0, -1]]


def sample(outputs: NDArray[Any], seed: int) -> NDArray[np.float32]:
    """At most :data:`SAMPLE` of the values, always the same ones."""
    values = outputs.reshape(-1).astype(np.float32)
    if len(values) <= SAMPLE:
        return values
    return values[np.sort(np.random.default_rng(seed).choice(len(values), SAMPLE, replace=False))]


def reference(model: bytes, x: NDArray[Any]) -> NDArray[Any]:
    """What ONNX Runtime computes on the host for the images `x`, however many the model is for."""
    import onnx
    import onnxruntime

    proto = onnx.load_from_string(model)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = len(x)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of fp16 constants that it cannot fold on a processor
    options.intra_op_num_threads = 1  # each of several building processes has a core
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: NDArray[Any] = session.run(["y"], {"x": x})[0]
    return found


def check(found: NDArray[Any], expected: NDArray[Any], precision: str) -> None:
    """Raise WrongOutput if `found` is further from `expected` than rounding explains."""
    difference = np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64))
    off = float(difference / max(float(np.linalg.norm(expected.astype(np.float64))), 1e-12))
    if not off <= TOLERANCES[precision]:
        raise WrongOutput(
            f"the engine's output differs from ONNX Runtime's by {100 * off:.2g} % "
            f"(at most {100 * TOLERANCES[precision]:g} % in {precision})"
        )
