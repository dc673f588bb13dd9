"""A process of its own that builds engines and checks them: if TensorRT crashes, one network is lost, not the run.

``python -m backends.tensorrt.build`` reads one request a line from its standard input and writes one answer a
line to the file descriptor it is given; both are JSON. TensorRT may print to standard output what it likes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from backends.tensorrt.engines import replace_file
from compofa.errors import RunFailed

if TYPE_CHECKING:
    from backends.tensorrt import calls

TOLERANCES = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 2e-2, "int8": 0.2}
"""Most that an engine's output may differ from ONNX Runtime's, as a fraction of its norm: rounding of each
precision, summed in another order; in int8 a value at the edge falls to the next of 255 levels."""


class WrongOutput(RunFailed):
    """The engine computes something else than the model."""


class Memory(Protocol):
    """What is needed of a device to run an engine on it."""

    @property
    def stream_handle(self) -> int:
        """CUDA's, of the stream to run on."""

    def array(self, values: NDArray[Any]) -> Any:
        """A copy on the device, with ``data_ptr()``."""

    def synchronize(self) -> None:
        """Wait for all that was begun."""

    def host(self, array: Any) -> NDArray[Any]:
        """A copy on the host."""


@dataclass(frozen=True)
class Request:
    """One engine to build.

    Args:
        model: file with the serialised ONNX model.
        plan: file to write.
        timing_cache: file to read, if there, and to write.
        precision: as in a target; decides how far outputs may be off.
        seed: of the input for the check.
        profile: file for milliseconds per layer; empty for none.
    """

    model: str
    plan: str
    timing_cache: str
    precision: str
    seed: int = 0
    profile: str = ""

    def line(self) -> str:
        """As it is sent."""
        return json.dumps(asdict(self)) + "\n"


def serve(requests: Iterable[str], answers: TextIO, memory: Memory) -> None:
    """Answer each request: ``{"ok": true}``, or ``{"ok": false, "error": reason}``."""
    for line in requests:
        try:
            handle(Request(**json.loads(line)), memory)
            answer: dict[str, object] = {"ok": True}
        except Exception as error:  # whatever it is, it is this request's, and the next may be fine
            answer = {"ok": False, "error": " ".join(str(error).split())}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def handle(request: Request, memory: Memory) -> None:
    """Build, check, keep, and profile if asked to.

    Raises:
        TensorRTFailed: TensorRT cannot.
        WrongOutput: the engine's output is wrong.
        OSError: a file cannot be read or written.
    """
    from backends.tensorrt import calls

    model, cache = Path(request.model).read_bytes(), Path(request.timing_cache)
    built = calls.build(
        model,
        tf32=request.precision == "tf32",
        timing_cache=cache.read_bytes() if cache.exists() else b"",
        detailed=bool(request.profile),
    )
    engine = calls.Engine(built.plan)
    x = random_input(engine.tensors(), request.seed)
    arrays = bind(engine, memory, x)
    engine.enqueue(memory.stream_handle)
    memory.synchronize()
    check(memory.host(arrays["y"]), reference(model, x), request.precision)
    if request.profile:
        layers = engine.profile(memory.stream_handle, memory.synchronize)
        replace_file(Path(request.profile), json.dumps(layers, indent=1).encode())
    replace_file(cache, built.timing_cache)
    replace_file(Path(request.plan), built.plan)


def random_input(tensors: list[calls.Tensor], seed: int) -> NDArray[Any]:
    """A value for the one input."""
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


def reference(model: bytes, x: NDArray[Any]) -> NDArray[Any]:
    """What ONNX Runtime computes on the host."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of fp16 constants that it cannot fold on a processor
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
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


def main() -> None:
    """Serve the parent process until it closes our standard input."""
    from backends.machine.gpu import Gpu

    with os.fdopen(int(sys.argv[1]), "w") as answers:
        gpu = Gpu()
        with gpu.active():
            serve(sys.stdin, answers, gpu)


if __name__ == "__main__":
    main()
