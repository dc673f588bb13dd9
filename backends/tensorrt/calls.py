"""Every call of TensorRT that hwbench makes, for TensorRT 10 and 11 and for TensorRT-RTX.

Import this after :func:`backends.tensorrt.library.use`, and with TensorRT only where there is a GPU: without one, its
objects crash the process that uses them. The tests hold this file against the type information of NVIDIA's own
bindings, so nothing else but :mod:`backends.tensorrt.rtx_calls` may call the library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsFloat, SupportsInt

from backends.tensorrt import library
from compofa.errors import RunFailed

if TYPE_CHECKING:
    import tensorrt as trt
else:
    trt = library.load()

Progress = Callable[[str, int, int], None]
"""Phase, steps done, steps in all."""


class TensorRTFailed(RunFailed):
    """TensorRT could not do it; its own messages."""


class Refused(TensorRTFailed):
    """TensorRT has no way to run the model on the GPU that it was to be built for."""


@dataclass(frozen=True)
class Built:
    """What a build gives: the serialised engine, and the timing cache with what was learnt, if one was given."""

    plan: bytes
    timing_cache: bytes | None


def version() -> str:
    """The library's."""
    return str(trt.__version__)


# --- building ---


def build(
    model: bytes,
    *,
    tf32: bool = False,
    timing_cache: bytes | None = None,
    detailed: bool = False,
    progress: Progress | None = None,
    capabilities: Sequence[str] = (),
) -> Built:
    """Compile an ONNX model. The network is strongly typed: its precisions are those of the model.

    Args:
        model: serialised.
        tf32: products of fp32 may be rounded to ten bits.
        timing_cache: of an earlier build, or empty; one of another GPU or version is left out. None where nothing is
            to be learnt: TensorRT-RTX times no kernels.
        detailed: keep what a profile needs to name layers.
        progress: told of each step, perhaps by another thread.
        capabilities: the compute capabilities that the engine is for, with TensorRT-RTX; TensorRT builds for the
            GPU at hand.

    Raises:
        Refused: the model cannot be parsed or built.
    """
    messages = Messages()
    builder = trt.Builder(messages)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, messages)
    if not parser.parse(model):
        raise Refused(f"{library.used().name} cannot parse the model: {_parse_errors(parser)}")
    config = builder.create_builder_config()
    if tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if detailed:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if progress:
        config.progress_monitor = Monitor(progress)
    if capabilities:
        from backends.tensorrt import rtx_calls

        rtx_calls.build_for(config, capabilities)
    cache = None if timing_cache is None else _use_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Refused(f"{library.used().name} cannot build the engine: {messages}")
    return Built(bytes(plan), None if cache is None else bytes(cache.serialize()))


def _use_timing_cache(config: trt.IBuilderConfig, content: bytes) -> trt.ITimingCache:
    cache = config.create_timing_cache(content)
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _parse_errors(parser: trt.OnnxParser) -> str:
    errors = (parser.get_error(i) for i in range(parser.num_errors))
    told = ((error.desc(), error.node_name()) for error in errors)
    return "; ".join(f"{said} (node {node})" if node else said for said, node in told)


class Messages(trt.ILogger):
    """Keeps TensorRT's warnings and errors, instead of printing them."""

    KEPT = 8

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.lines: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.lines = [*self.lines, " ".join(msg.split())][-self.KEPT :]

    def __str__(self) -> str:
        return "; ".join(self.lines) or "it does not say why"


class Monitor(trt.IProgressMonitor):
    """Passes TensorRT's progress on."""

    def __init__(self, progress: Progress) -> None:
        trt.IProgressMonitor.__init__(self)
        self.progress = progress
        self.steps: dict[str, int] = {}

    def phase_start(self, phase_name: str, parent_phase: str, num_steps: SupportsInt) -> None:
        self.steps[phase_name] = int(num_steps)

    def step_complete(self, phase_name: str, step: SupportsInt) -> bool:
        done = int(step) + 1
        self.progress(phase_name, done, self.steps.get(phase_name, done))
        return True

    def phase_finish(self, phase_name: str) -> None:
        self.steps.pop(phase_name, None)


# --- running ---


@dataclass(frozen=True)
class Tensor:
    """An input or output of an engine; `kind` is the element's type as numpy names it."""

    name: str
    shape: tuple[int, ...]
    kind: str
    is_input: bool


class Engine:
    """An engine ready to run.

    Args:
        plan: as :func:`build` gave it.
        kernels: with TensorRT-RTX, what :meth:`compiled` gave in an earlier process.

    Raises:
        TensorRTFailed: it is not an engine of this GPU and version, or does not fit its memory.
    """

    def __init__(self, plan: bytes, kernels: bytes = b"") -> None:
        self.messages = Messages()
        self.runtime = trt.Runtime(self.messages)
        self.engine = self.runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise TensorRTFailed(f"{library.used().name} cannot load the engine: {self.messages}")
        context = self._context(kernels)
        if context is None:
            raise TensorRTFailed(f"{library.used().name} cannot run the engine: {self.messages}")
        self.context = context

    def _context(self, kernels: bytes) -> trt.IExecutionContext | None:
        self._kernels = None
        if library.used() != library.RTX:
            return self.engine.create_execution_context()
        from backends.tensorrt import rtx_calls

        self._kernels = rtx_calls.Kernels(self.engine, kernels)
        context: trt.IExecutionContext | None = self._kernels.context
        return context

    def compiled(self) -> bytes:
        """The kernels that were compiled on the device while it ran; empty where nothing is."""
        return self._kernels.serialize() if self._kernels else b""

    def tensors(self) -> list[Tensor]:
        """Inputs and outputs."""
        return [self._tensor(self.engine.get_tensor_name(i)) for i in range(self.engine.num_io_tensors)]

    def _tensor(self, name: str) -> Tensor:
        shape = self.engine.get_tensor_shape(name)
        return Tensor(
            name=name,
            shape=tuple(shape[i] for i in range(len(shape))),
            kind="float16" if self.engine.get_tensor_dtype(name) == trt.DataType.HALF else "float32",
            is_input=self.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
        )

    def bind(self, name: str, address: int) -> None:
        """Where an input or output lies on the device.

        Raises:
            TensorRTFailed: there is no such tensor.
        """
        if not self.context.set_tensor_address(name, address):
            raise TensorRTFailed(f"{library.used().name} cannot bind {name}: {self.messages}")

    def enqueue(self, stream: int) -> None:
        """Begin one run on a CUDA stream, by its handle; not the default one.

        Raises:
            TensorRTFailed: it cannot be begun.
        """
        if not self.context.execute_async_v3(stream):
            raise TensorRTFailed(f"{library.used().name} cannot run the engine: {self.messages}")

    def profile(self, stream: int, synchronize: Callable[[], None], runs: int = 20) -> dict[str, float]:
        """Mean milliseconds of each layer over some runs, which are slower for being profiled."""
        times = LayerTimes()
        self.context.profiler = times
        for _ in range(runs):
            self.enqueue(stream)
            synchronize()
        return {name: total / runs for name, total in times.total_ms.items()}


class LayerTimes(trt.IProfiler):
    """Adds up the time of each layer."""

    def __init__(self) -> None:
        trt.IProfiler.__init__(self)
        self.total_ms: dict[str, float] = {}

    def report_layer_time(self, layer_name: str, ms: SupportsFloat) -> None:
        self.total_ms[layer_name] = self.total_ms.get(layer_name, 0.0) + float(ms)
