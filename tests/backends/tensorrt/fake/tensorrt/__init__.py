"""Stands in for TensorRT at the calls of :mod:`backends.tensorrt.calls`: engines are run by ONNX Runtime.

``FAKE_TENSORRT`` in the environment makes it misbehave for networks with so many output channels:
``crash=24``, ``parse=24``, ``build=24``, ``hang=24``, ``wrong=24``. ``FAKE_TENSORRT_LOG`` names a file that gets
a line for each build.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import time

import numpy as np
import onnx
import onnxruntime

__version__ = os.environ.get("FAKE_TENSORRT_VERSION", "11.0.0")


def trouble(kind: str, model: onnx.ModelProto) -> bool:
    named, _, channels = os.environ.get("FAKE_TENSORRT", "").partition("=")
    dims = model.graph.output[0].type.tensor_type.shape.dim
    return named == kind and dims[1].dim_value == int(channels)


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.Enum):
    TF32 = 0


class ProfilingVerbosity(enum.Enum):
    DETAILED = 2


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class DataType(enum.Enum):
    FLOAT = "float32"
    HALF = "float16"


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3


class IProgressMonitor:
    pass


class IProfiler:
    pass


class Network:
    def __init__(self, flags: int) -> None:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        self.model: onnx.ModelProto | None = None


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.builds = json.loads(content) if content else 0

    def serialize(self) -> bytes:
        return json.dumps(self.builds).encode()


class Config:
    cache: TimingCache
    progress_monitor: IProgressMonitor | None = None
    profiling_verbosity: ProfilingVerbosity | None = None

    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def create_timing_cache(self, content: bytes) -> TimingCache:
        return TimingCache(b"" if content == b"of another GPU" else content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return True


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> Network:
        return Network(flags)

    def create_builder_config(self) -> Config:
        return Config()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        model = network.model
        assert model is not None
        if trouble("crash", model):
            print("Cask error: unexpected", flush=True)
            os.abort()
        if trouble("hang", model):
            time.sleep(60)
        if trouble("build", model):
            self.logger.log(ILogger.Severity.ERROR, "could not find any  implementation for node block0")
            return None
        if path := os.environ.get("FAKE_TENSORRT_LOG"):
            with open(path, "a") as log:
                log.write(
                    json.dumps({"tf32": BuilderFlag.TF32 in config.flags, "learnt": config.cache.builds})
                    + "\n"
                )
        config.cache.builds += 1
        return b"plan " + model.SerializeToString()


class ParserError:
    def __init__(self, node: str) -> None:
        self.node = node

    def desc(self) -> str:
        return "no importer registered"

    def node_name(self) -> str:
        return self.node


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        self.network = network
        self.errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> ParserError:
        return self.errors[index]

    def parse(self, content: bytes) -> bool:
        model = onnx.load_from_string(content)
        if trouble("parse", model):
            self.errors.append(ParserError(model.graph.node[0].name))
        self.network.model = model
        return not self.errors


class Context:
    profiler: IProfiler | None = None

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.wrong = trouble("wrong", model)
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream, "TensorRT warns of the default stream"
        (given,) = self.session.get_inputs()
        kind = np.dtype({"tensor(float)": "f4", "tensor(float16)": "f2"}[given.type])
        size = int(np.prod(given.shape)) * kind.itemsize
        x = np.frombuffer(ctypes.string_at(self.addresses["x"], size), kind).reshape(given.shape)
        y = np.ascontiguousarray(self.session.run(["y"], {"x": x})[0])
        if self.wrong:
            y = 2 * y
        ctypes.memmove(self.addresses["y"], y.ctypes.data, y.nbytes)
        if self.profiler:
            self.profiler.report_layer_time("conv", 0.25)
        return True


class Engine:
    num_io_tensors = 2

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model

    def _value(self, name: str) -> onnx.ValueInfoProto:
        return self.model.graph.input[0] if name == "x" else self.model.graph.output[0]

    def get_tensor_name(self, index: int) -> str:
        return ("x", "y")[index]

    def get_tensor_shape(self, name: str) -> list[int]:
        return [dim.dim_value for dim in self._value(name).type.tensor_type.shape.dim]

    def get_tensor_dtype(self, name: str) -> DataType:
        half = self._value(name).type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
        return DataType.HALF if half else DataType.FLOAT

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "x" else TensorIOMode.OUTPUT

    def create_execution_context(self) -> Context:
        return Context(self.model)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        if not plan.startswith(b"plan "):
            self.logger.log(ILogger.Severity.ERROR, "magic tag does not match")
            return None
        return Engine(onnx.load_from_string(plan[5:]))
