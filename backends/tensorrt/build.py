"""A process of its own that builds engines and checks them: if the library crashes, one network is lost, not the run.

``python -m backends.tensorrt.build`` reads one request a line from its standard input and writes one answer a line to
the file descriptor it is given; both are JSON. The library may print to standard output what it likes. Where there is
a GPU, an engine is run once and its output compared with the sample that was kept when it was built; where there is
none, that is left to the machine that will have one.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from backends.tensorrt import library
from backends.tensorrt.engines import Engine, Engines, Identity, graph_hash
from compofa.blocks import Block
from compofa.errors import RunFailed
from compofa.files import write_atomically
from compofa.graph import network_to_onnx

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


@dataclass(frozen=True)
class Graph:
    """What an engine is built from.

    Args:
        network: its blocks.
        precision: as in a target; ``tf32`` is a graph in fp32.
        batch: images in one run.
        seed: of the weights and of the input.
    """

    network: tuple[Block, ...]
    precision: str
    batch: int = 1
    seed: int = 0

    def model(self) -> bytes:
        """As a serialised ONNX model."""
        precision = "fp32" if self.tf32 else self.precision
        model = network_to_onnx(self.network, batch=self.batch, seed=self.seed, precision=precision)
        return model.SerializeToString(deterministic=True)

    @property
    def tf32(self) -> bool:
        return self.precision == "tf32"


@dataclass(frozen=True)
class Request:
    """One engine to build, unless it is there, and to check.

    Args:
        graph: of what.
        engines: where it is kept, and for which GPU it is.
        profile: file for milliseconds per layer, which takes a build of its own; empty for none.
    """

    graph: Graph
    engines: Engines
    profile: str = ""

    def line(self) -> str:
        """As it is sent."""
        network = [block.to_dict() for block in self.graph.network]
        graph = {**asdict(self.graph), "network": network}
        kept = {"folder": str(self.engines.folder), "identity": asdict(self.engines.identity)}
        return json.dumps({"graph": graph, "engines": kept, "profile": self.profile}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Request:
        """What :meth:`line` wrote."""
        fields = json.loads(line)
        graph, kept = fields["graph"], fields["engines"]
        network = tuple(Block.from_dict(block) for block in graph["network"])
        engines = Engines(Path(kept["folder"]), Identity(**kept["identity"]))
        return cls(Graph(**{**graph, "network": network}), engines, fields["profile"])


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Args:
        built: the engine was built now; else it was there.
        error: why there is none; empty if there is one.
        refused: the library has no way to run it, in its own words.
        unwritable: there is one, but it could not be kept.
    """

    built: bool = False
    error: str = ""
    refused: bool = False
    unwritable: bool = False


def serve(requests: Iterable[str], answers: TextIO, memory: Memory | None) -> None:
    """Answer each request, each in a line; without `memory` engines are not run."""
    for line in requests:
        answers.write(json.dumps(asdict(_answer(line, memory))) + "\n")
        answers.flush()


def _answer(line: str, memory: Memory | None) -> Answer:
    from backends.tensorrt import calls

    try:
        return Answer(built=handle(Request.from_line(line), memory))
    except calls.Refused as error:
        return Answer(error=_one_line(error), refused=True)
    except OSError as error:
        return Answer(error=_one_line(error.strerror or error), unwritable=True)
    except Exception as error:  # whatever it is, it is this request's, and the next may be fine
        return Answer(error=_one_line(error))


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def handle(request: Request, memory: Memory | None) -> bool:
    """Build, keep, check where there is a GPU, and profile if asked to; returns whether it was built now.

    Raises:
        Refused: the library has no way to run it.
        TensorRTFailed: it cannot be loaded or run.
        WrongOutput: the engine's output is wrong.
        OSError: a file cannot be written.
    """
    from backends.tensorrt import calls

    model, engines = request.graph.model(), request.engines
    key = graph_hash(model, tf32=request.graph.tf32)
    engine = None if request.profile else engines.load(key)
    built = engine is None
    if engine is None:
        engine = _build(request, model)
        engines.store(key, engine)
    if engine.refused:
        raise calls.Refused(engine.refused)
    if memory and engine.checked != memory.name:
        _check(request, key, engine, memory)
    return built


def _build(request: Request, model: bytes) -> Engine:
    from backends.tensorrt import calls

    rtx = library.used() == library.RTX
    cache = request.engines.timing_cache
    capability = request.engines.identity.capability
    try:
        built = calls.build(
            model,
            tf32=request.graph.tf32,
            timing_cache=None if rtx else cache.read_bytes() if cache.exists() else b"",
            detailed=bool(request.profile),
            progress=_tell,
            capabilities=(capability,) if rtx else (),
        )
    except calls.Refused as refused:
        if not _is_for_good(capability):
            raise
        return Engine(b"", np.zeros(0, np.float32), refused=str(refused))
    if built.timing_cache is not None:
        request.engines.keep(cache, built.timing_cache)
    x = random_input(model_input(model), request.graph.seed)
    return Engine(built.plan, sample(reference(model, ends(x)), request.graph.seed))


def _tell(phase: str, done: int, total: int) -> None:
    """In the log, whose last line the parent reads if this process dies or takes too long."""
    print(f"{phase}: step {done} of {total}", file=sys.stderr, flush=True)


def _is_for_good(capability: str) -> bool:
    """Whether a refusal will be repeated: building for a GPU that need not be there depends on nothing but the graph;
    building on one may lack memory just now."""
    if library.used() != library.RTX:
        return False
    from backends.tensorrt import rtx_calls

    return capability in rtx_calls.capabilities()


def _check(request: Request, key: str, engine: Engine, memory: Memory) -> None:
    from backends.tensorrt import calls

    ready = calls.Engine(engine.plan)
    seed = request.graph.seed
    arrays = bind(ready, memory, random_input(ready.tensors(), seed))
    ready.enqueue(memory.stream_handle)
    memory.synchronize()
    check(sample(ends(memory.host(arrays["y"])), seed), engine.expected, request.graph.precision)
    if request.profile:
        layers = ready.profile(memory.stream_handle, memory.synchronize)
        profile = Path(request.profile)
        profile.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(profile, json.dumps(layers, indent=1))
    if kernels := ready.compiled():
        request.engines.keep(request.engines.kernels(key), kernels)
    request.engines.mark_checked(key, engine, memory.name)


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


def keep_memory() -> None:
    """Have this process keep the memory that it frees: TensorRT-RTX takes some hundred megabytes for each build, and to
    get them from the system each time takes twice as long as the build itself. Of the GNU C library only."""
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 1 << 30)


def main() -> None:
    """Serve the parent process until it closes our standard input: ``DESCRIPTOR RUNTIME gpu|host``."""
    descriptor, runtime, device = sys.argv[1:]
    library.use(library.LIBRARIES[runtime])
    keep_memory()
    with os.fdopen(int(descriptor), "w") as answers:
        if device == "host":
            serve(sys.stdin, answers, None)
            return
        from backends.machine.gpu import Gpu

        gpu = Gpu()
        with gpu.active():
            serve(sys.stdin, answers, gpu)


if __name__ == "__main__":
    main()
