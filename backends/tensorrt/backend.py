"""TensorRT or TensorRT-RTX on an NVIDIA GPU: each network is compiled to an engine, checked, and replayed as a CUDA
graph.

Nothing of NVIDIA's is loaded into this process before a GPU, the library and a torch that can use them were found to
work, in that order: on a machine without them TensorRT's objects crash the process. Engines that
``hwbench engines`` built on another machine are used as they are.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from backends.base import CannotRun, Network, Option, Settings, Target
from backends.chained import ENERGY, GPU_TIMINGS, ChainBackend, Timings
from backends.device import Device, Run
from backends.machine.cuda_probe import cuda_reason
from backends.tensorrt import library
from backends.tensorrt.build import Graph, Request
from backends.tensorrt.engines import Engine, Engines, Identity, graph_hash
from backends.tensorrt.library import RUNTIMES, Library
from backends.tensorrt.outputs import bind, random_input
from backends.tensorrt.worker import Builder, BuildFailed, build_command
from compofa.errors import InputError, Unavailable
from compofa.home import home

if TYPE_CHECKING:
    from backends.machine.gpu import Gpu
    from backends.tensorrt import calls

PROBE_S = 60
BUILD_S = "900"
ELEMENT_BYTES = {"fp16": 2, "fp32": 4, "tf32": 4, "int8": 2}
"""Of the precisions that engines have; what int8 leaves in floating point is fp16."""


class TensorRTBackend(ChainBackend):
    """Engines of TensorRT 10 or 11, or of TensorRT-RTX, strongly typed: the precision is that of the ONNX graph.

    Args:
        settings: precision ``fp16``, ``fp32``, ``tf32`` (fp32 whose products are rounded to ten bits) or
            ``int8`` (Q/DQ, the rest in fp16, see :mod:`compofa.graph_int8`); `threads` has no meaning.
        timings: how long and how carefully to time.
        gpu, command: for tests: the device, and the process that builds engines.

    Raises:
        BackendUnavailable: there is no driver, no GPU, neither library or no torch for the GPU.
        Unavailable: the library that the option ``runtime`` names is not there.
        ValueError: the GPU lacks the precision.
    """

    name = "tensorrt"
    default_precision = "fp16"
    element_bytes = ELEMENT_BYTES
    shares_activations = False
    options = (
        Option(
            "runtime",
            "NVIDIA's library: tensorrt, rtx (TensorRT-RTX), or auto: tensorrt where it is installed, else rtx",
            "auto",
            RUNTIMES,
        ),
        Option("cache", "folder of built engines (default: engines beside the tables)", metavar="FOLDER"),
        Option("build_timeout", "seconds that one engine may take to build", BUILD_S, metavar="SECONDS"),
        Option(
            "profile",
            "folder for the milliseconds of each engine's layers: an explanation, not a part of "
            "the table; builds anew",
            "",
            metavar="FOLDER",
        ),
        ENERGY,
    )

    def __init__(
        self,
        settings: Settings,
        timings: Timings = GPU_TIMINGS,
        *,
        gpu: Gpu | None = None,
        command: Callable[[Library], Sequence[str]] = lambda library: build_command(library, "gpu"),
    ) -> None:
        self._given = gpu
        super().__init__(settings, timings)
        self._builder = Builder(seconds(self.option("build_timeout")), command(self._library))

    @classmethod
    def probe(cls) -> str | None:
        if reason := cuda_reason():
            return reason
        try:
            return _import_reason(library.find("auto"))
        except Unavailable as missing:
            return f"there is a GPU, but {missing}"

    @property
    def target(self) -> Target:
        identity = self._engines.identity
        versions = (*self.device.versions, (identity.library, identity.version))
        return Target(
            backend=self.name,
            device=self.device.name,
            precision=self.settings.precision,
            batch=self.settings.batch,
            threads=0,
            versions=tuple(sorted(versions)),
            details=tuple(
                sorted({"cuda_graph": "yes", "runtime": self._library.runtime, **self.method}.items())
            ),
        )

    @property
    def caution(self) -> str | None:
        return self._engines.warning()

    @cached_property
    def _library(self) -> Library:
        return library.find(self.option("runtime"))

    def _open_device(self) -> Device:
        from backends.machine.gpu import open_gpu

        chosen = self._library  # the one that is named may be missing where the other is there
        self._gpu = self._given or open_gpu(self.settings.precision)
        library.use(chosen)
        return self._gpu

    @cached_property
    def _engines(self) -> Engines:
        from backends.tensorrt import calls

        rtx = self._library == library.RTX
        gpu = "" if rtx else self.device.name
        identity = Identity(self._library.name, calls.version(), self._gpu.capability, gpu)
        return Engines(Path(self.option("cache") or default_folder()), identity)

    def _ready(self, network: Network, seed: int) -> Run:
        from backends.tensorrt import calls

        try:
            engine = self._open(Graph(network, self.settings.precision, self.settings.batch, seed))
            arrays = bind(engine, self._gpu, random_input(engine.tensors(), seed))
            stream = self._gpu.stream_handle

            def run() -> object:
                engine.enqueue(stream)
                return arrays

            return self.device.capture(run)
        except (calls.TensorRTFailed, BuildFailed) as error:
            raise CannotRun(str(error)) from error

    def _open(self, graph: Graph) -> calls.Engine:
        """The engine of `graph`, from the cache or built now, found to compute what it should on this device."""
        from backends.tensorrt import calls

        key = graph_hash(graph.model(), tf32=graph.tf32)
        profile = _profile_file(self.option("profile"), graph.network)
        engine = None if profile else self._usable(key)
        if engine is None:
            self._builder.build(Request(graph, self._engines, profile))
            engine = self._usable(key)
        if engine is None:
            raise BuildFailed(f"{self._engines.path(key)} was changed by another process; try again")
        kernels = self._engines.kernels(key)
        return calls.Engine(engine.plan, kernels.read_bytes() if kernels.exists() else b"")

    def _usable(self, key: str) -> Engine | None:
        engine = self._engines.load(key)
        return engine if engine and engine.checked == self.device.name else None

    def close(self) -> None:
        """End the building process."""
        self._builder.close()

    def __del__(self) -> None:
        if hasattr(self, "_builder"):
            self.close()


def default_folder() -> Path:
    """Where engines are kept unless another folder is named."""
    return home() / "engines"


def seconds(text: str) -> float:
    """The value of ``--build-timeout``.

    Raises:
        InputError: it is no time.
    """
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise InputError(f"--build-timeout is a positive number of seconds, not {text!r}")
    return found


def _profile_file(folder: str, network: Network) -> str:
    name = re.sub(r"[^\w.-]+", "_", f"{len(network)}-blocks-from-{network[0]}-to-{network[-1]}")
    return str(Path(folder) / f"{name}.json") if folder else ""


def _import_reason(wanted: Library) -> str | None:
    """Why `wanted` cannot be loaded, asked of a process of its own: it may crash."""
    ask = f"import {wanted.module} as trt; trt.Builder; trt.OnnxParser"
    try:
        done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        return f"{wanted.name} is installed but takes longer than {PROBE_S} s to load"
    if done.returncode == 0:
        return None
    said = (done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"])[-1]
    return f"{wanted.name} is installed but cannot be loaded ({said}); install with: {wanted.install}"
