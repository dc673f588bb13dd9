"""A GPU's place, taken by the host: engines are built by the real TensorRT-RTX, and run by ONNX Runtime.

Without a GPU nothing runs what TensorRT-RTX built, so what it was built from is kept beside it, and run instead. Run
as a program this is the process that builds engines. In the environment, ``HWBENCH_TEST_ENGINES`` names a folder for
the models and a log of what was built, and ``HWBENCH_TEST_TROUBLE`` makes trouble for networks with so many output
channels: ``crash=24``, ``hang=24``, ``wrong=24``.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from backends.device import Device
from backends.tensorrt import library
from compofa.memory import keep_freed_memory

FOLDER, TROUBLE = "HWBENCH_TEST_ENGINES", "HWBENCH_TEST_TROUBLE"


def command(chosen: library.Library) -> tuple[str, ...]:
    """What starts the building process."""
    return (sys.executable, __file__, "{answers}", chosen.runtime)


class Array:
    def __init__(self, values: NDArray[Any]) -> None:
        self.values = np.array(values)

    def data_ptr(self) -> int:
        return self.values.ctypes.data


class HostGpu(Device):
    name = "Host GPU"
    versions = (("driver", "1"),)
    stream_handle = 7

    def __init__(self, capability: str = "8.9") -> None:
        super().__init__()
        self.capability = capability

    def array(self, values: NDArray[Any]) -> Array:
        return Array(values)

    def host(self, array: Array) -> NDArray[Any]:
        return array.values

    def synchronize(self) -> None:
        pass


def trouble(kind: str, channels: int) -> bool:
    return os.environ.get(TROUBLE) == f"{kind}={channels}"


def model_of(plan: bytes) -> Path:
    return Path(os.environ[FOLDER]) / f"{hashlib.sha256(plan).hexdigest()}.onnx"


def kept(build: Callable[..., Any]) -> Callable[..., Any]:
    """`calls.build`, which also keeps the model, and a line for each build."""

    def build_and_keep(model: bytes, **how: Any) -> Any:
        channels = onnx.load_from_string(model).graph.output[0].type.tensor_type.shape.dim[1].dim_value
        if trouble("crash", channels):
            os.abort()
        if trouble("hang", channels):
            time.sleep(60)
        built = build(model, **how)
        model_of(built.plan).write_bytes(model)
        with (Path(os.environ[FOLDER]) / "log").open("a") as log:
            log.write(json.dumps({"tf32": how["tf32"], "for": how["capabilities"]}) + "\n")
        return built

    return build_and_keep


class HostEngine:
    """In the place of ``calls.Engine``."""

    def __init__(self, plan: bytes, kernels: bytes = b"") -> None:
        import onnxruntime

        from backends.tensorrt import calls, outputs

        model = model_of(plan).read_bytes()
        output = onnx.load_from_string(model).graph.output[0].type.tensor_type
        shape = tuple(dim.dim_value for dim in output.shape.dim)
        (x,) = outputs.model_input(model)
        self._tensors = [x, calls.Tensor("y", shape, x.kind, False)]
        self.wrong = trouble("wrong", shape[1])
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.addresses: dict[str, int] = {}

    def tensors(self) -> list[Any]:
        return self._tensors

    def bind(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def enqueue(self, stream: int) -> None:
        x = self._tensors[0]
        size = int(np.prod(x.shape)) * np.dtype(x.kind).itemsize
        values = np.frombuffer(ctypes.string_at(self.addresses["x"], size), x.kind).reshape(x.shape)
        y = np.ascontiguousarray(self.session.run(["y"], {"x": values})[0]) * (2 if self.wrong else 1)
        ctypes.memmove(self.addresses["y"], y.ctypes.data, y.nbytes)

    def compiled(self) -> bytes:
        return b"kernels"

    def profile(self, stream: int, synchronize: Callable[[], None]) -> dict[str, float]:
        return {"conv": 0.25}


if __name__ == "__main__":
    library.use(library.LIBRARIES[sys.argv[2]])
    from backends.tensorrt import build, calls

    keep_freed_memory()
    calls.build, calls.Engine = kept(calls.build), HostEngine  # type: ignore[assignment, misc]
    with os.fdopen(int(sys.argv[1]), "w") as answers:
        build.serve(sys.stdin, answers, HostGpu())
