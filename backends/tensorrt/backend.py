"""TensorRT on an NVIDIA GPU: each network is compiled to an engine, checked, and replayed as a CUDA graph.

Nothing of TensorRT is loaded into this process before a GPU, TensorRT and a torch that can use them were found
to work, in that order: on a machine without them TensorRT's objects crash the process.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from backends.base import CannotRun, Network, Option, Settings, Target
from backends.chained import GPU_TIMINGS, ChainBackend, Timings
from backends.device import Device, Run
from backends.machine.cuda_probe import cuda_reason
from backends.tensorrt.build import Request, bind, random_input
from backends.tensorrt.engines import Engines, Identity, graph_hash
from backends.tensorrt.worker import COMMAND, Builder, BuildFailed, request_files
from compofa.errors import InputError
from compofa.graph import network_to_onnx
from compofa.home import home

if TYPE_CHECKING:
    from backends.machine.gpu import Gpu

INSTALL = "pip install tensorrt (it fetches the library from pypi.nvidia.com)"
PROBE_S = 60
BUILD_S = "900"


class TensorRTBackend(ChainBackend):
    """Engines of TensorRT 10 or 11, strongly typed: the precision is that of the ONNX graph.

    Args:
        settings: precision ``fp16``, ``fp32``, ``tf32`` (fp32 whose products are rounded to ten bits) or
            ``int8`` (Q/DQ, the rest in fp16, see :mod:`compofa.graph_int8`); `threads` has no meaning.
        timings: how long and how carefully to time.
        gpu, command: for tests: the device, and the process that builds engines.

    Raises:
        BackendUnavailable: there is no driver, no GPU, no TensorRT or no torch for the GPU.
        ValueError: the GPU lacks the precision.
    """

    name = "tensorrt"
    default_precision = "fp16"
    element_bytes = {"fp16": 2, "fp32": 4, "tf32": 4, "int8": 2}  # noqa: RUF012
    shares_activations = False
    options = (
        Option("cache", "folder of built engines (default: engines beside the tables)", metavar="FOLDER"),
        Option("build_timeout", "seconds that one engine may take to build", BUILD_S, metavar="SECONDS"),
        Option(
            "profile",
            "folder for the milliseconds of each engine's layers: an explanation, not a part of "
            "the table; builds anew",
            "",
            metavar="FOLDER",
        ),
    )

    def __init__(
        self,
        settings: Settings,
        timings: Timings = GPU_TIMINGS,
        *,
        gpu: Gpu | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._given = gpu
        super().__init__(settings, timings)
        self._builder = Builder(_seconds(self.option("build_timeout")), command)

    @classmethod
    def probe(cls) -> str | None:
        if reason := cuda_reason():
            return reason
        if find_spec("tensorrt") is None:
            return f"there is a GPU, but tensorrt cannot be imported; install with: {INSTALL}"
        return _import_reason()

    @property
    def target(self) -> Target:
        versions = (*self.device.versions, ("tensorrt", self._engines.identity.tensorrt))
        return Target(
            backend=self.name,
            device=self.device.name,
            precision=self.settings.precision,
            batch=self.settings.batch,
            threads=0,
            versions=tuple(sorted(versions)),
            details=tuple(sorted({"cuda_graph": "yes", **self.method}.items())),
        )

    def _open_device(self) -> Device:
        from backends.machine.gpu import open_gpu

        self._gpu = self._given or open_gpu(self.settings.precision)
        return self._gpu

    @cached_property
    def _engines(self) -> Engines:
        from backends.tensorrt import calls

        identity = Identity(calls.version(), self.device.name, self._gpu.capability)
        return Engines(Path(self.option("cache") or home() / "engines"), identity)

    def _ready(self, network: Network, seed: int) -> Run:
        from backends.tensorrt import calls

        try:
            engine = calls.Engine(self._plan(network, seed))
            arrays = bind(engine, self._gpu, random_input(engine.tensors(), seed))
            stream = self._gpu.stream_handle

            def run() -> object:
                engine.enqueue(stream)
                return arrays

            return self.device.capture(run)
        except (calls.TensorRTFailed, BuildFailed) as error:
            raise CannotRun(str(error)) from error

    def _plan(self, network: Network, seed: int) -> bytes:
        """The engine of `network`, from the cache or built now."""
        precision = self.settings.precision
        graph = "fp32" if precision == "tf32" else precision
        model = network_to_onnx(network, batch=self.settings.batch, seed=seed, precision=graph)
        content = model.SerializeToString(deterministic=True)
        key = graph_hash(content, tf32=precision == "tf32")
        profile = self.option("profile")
        plan = None if profile else self._engines.load(key)
        if plan is None:
            plan = self._build(content, seed, _profile_file(profile, network))
            self._engines.store(key, plan)
        return plan

    def _build(self, model: bytes, seed: int, profile: str) -> bytes:
        with tempfile.TemporaryDirectory(prefix="hwbench-") as name:
            source, plan = request_files(Path(name), model)
            cache = str(self._engines.timing_cache)
            self._builder.build(
                Request(str(source), str(plan), cache, self.settings.precision, seed, profile)
            )
            return plan.read_bytes()

    def close(self) -> None:
        """End the building process."""
        self._builder.close()

    def __del__(self) -> None:
        if hasattr(self, "_builder"):
            self.close()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError(f"--build-timeout is a positive number of seconds, not {text!r}")
    return seconds


def _profile_file(folder: str, network: Network) -> str:
    name = re.sub(r"[^\w.-]+", "_", f"{len(network)}-blocks-from-{network[0]}-to-{network[-1]}")
    return str(Path(folder) / f"{name}.json") if folder else ""


def _import_reason() -> str | None:
    """Why TensorRT cannot be loaded, asked of a process of its own: it may crash."""
    ask = "import tensorrt; tensorrt.Builder; tensorrt.OnnxParser"
    try:
        done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        return f"tensorrt is installed but takes longer than {PROBE_S} s to load"
    if done.returncode == 0:
        return None
    said = (done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"])[-1]
    return f"tensorrt is installed but cannot be loaded ({said}); install with: {INSTALL}"
