"""PyTorch on the host's processor or on an NVIDIA GPU.

Networks are run as they are deployed: batch norm folded, in inference mode, with the same random weights as
the ONNX models of other backends. ``eager`` runs operator by operator, ``compile`` what :func:`torch.compile`
makes of the network; on a GPU ``graph`` and ``compile-graph`` replay a CUDA graph of it, so that a network of
small kernels does not wait for the processor that launches them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from types import FunctionType
from typing import Any

from backends.base import BackendUnavailable, CannotRun, Network, Option, Settings, Target
from backends.chained import CPU_TIMINGS, ENERGY, GPU_TIMINGS, ChainBackend, Timings
from backends.device import Device
from backends.machine.clocks import Run, host_clocks
from backends.machine.host import check_threads, package_versions
from compofa.errors import InputError

MODES = {"cpu": ("eager", "compile"), "cuda": ("graph", "eager", "compile", "compile-graph")}
"""Of each device, the default first."""
LAYOUTS = ("contiguous", "channels-last")

DTYPES = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
TIMINGS = {"cpu": CPU_TIMINGS, "cuda": GPU_TIMINGS}


class TorchBackend(ChainBackend):
    """PyTorch's own kernels.

    Args:
        settings: precision ``fp32``, ``fp16``, ``bf16``, on a GPU also ``tf32`` (fp32 whose products are
            rounded to ten bits, which is what cuDNN does unless told); `threads` inside an operator, on the
            host; options ``device``, ``mode``, ``layout`` and ``energy``.
        timings: how long and how carefully to time.

    Raises:
        BackendUnavailable: torch is not there, or no GPU where one is asked for.
        ValueError: the device lacks the precision or the mode.
    """

    name = "torch"
    element_bytes = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}  # noqa: RUF012
    options = (
        Option("device", "where to run", "cpu", tuple(MODES)),
        Option("mode", "how to run; the default is eager on the cpu, graph on cuda", "", MODES["cuda"]),
        Option("layout", "memory layout of activations and weights", "channels-last", LAYOUTS),
        ENERGY,
    )

    def __init__(self, settings: Settings, timings: Timings | None = None) -> None:
        self._check_options(settings.options)
        kind = settings.options.get("device", "cpu")
        self.mode = settings.options.get("mode") or MODES[kind][0]
        _check(settings, kind, self.mode)
        super().__init__(settings, timings or TIMINGS[kind])

    @classmethod
    def probe(cls) -> str | None:
        if find_spec("torch") is None:
            return "torch cannot be imported; install with: pip install 'hwbench[torch]'"
        return None

    @property
    def target(self) -> Target:
        kind = self.option("device")
        # Others were compiled together, by code that versions before this one shared among networks.
        alone = {"compiled": "alone"} if self.mode.startswith("compile") else {}
        details = {"device": kind, "layout": self.option("layout"), "mode": self.mode, **alone, **self.method}
        return Target(
            backend=self.name,
            device=self.device.name,
            precision=self.settings.precision,
            batch=self.settings.batch,
            threads=self.settings.threads if kind == "cpu" else 0,
            versions=tuple(sorted((*package_versions(["torch"]), *self.device.versions))),
            details=tuple(sorted(details.items())),
        )

    def _open_device(self) -> Device:
        if self.option("device") == "cpu":
            return TorchCpu(self.settings.threads)
        from backends.machine.gpu import open_gpu

        return open_gpu(self.settings.precision)

    def _ready(self, network: Network, seed: int) -> Run:
        run = self._module_run(network, seed)
        with _compiling() if self.mode.startswith("compile") else nullcontext():
            run()
        return self.device.capture(run) if self.mode.endswith("graph") else run

    def _module_run(self, network: Network, seed: int) -> Run:
        import torch

        from compofa.folded import folded_network

        dtype = getattr(torch, DTYPES[self.settings.precision])
        layout = torch.channels_last if self.option("layout") == "channels-last" else torch.contiguous_format
        where = {"device": self.option("device"), "dtype": dtype, "memory_format": layout}
        module: Any = folded_network(network, seed=seed).to(**where)
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn((self.settings.batch, *network[0].in_shape), generator=generator).to(**where)
        if self.mode.startswith("compile"):
            module = _compiled(module)

        def run() -> object:
            with torch.inference_mode():
                return module(x)

        return run


def _compiled(module: Any) -> Any:
    """`module`, compiled for itself and its sizes alone.

    Dynamo keeps what it compiled by code object. All modules of one class share theirs: from the second size on it
    would compile for any size, and after eight it would run the rest operator by operator, with no more than a line in
    a log. So each module is called by code of its own.
    """
    import torch

    def call(x: Any) -> Any:
        return module(x)

    own = FunctionType(call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__)
    return torch.compile(own, dynamic=False)


@contextmanager
def _compiling() -> Iterator[None]:
    """Where networks are compiled: by what torch cannot compile a network fails, without a compiler all do."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).split())
        if "CxxCompiler" in reason:
            raise BackendUnavailable(
                "torch.compile needs a C++ compiler, and there is none: install g++, or name one in CXX"
            ) from error
        raise CannotRun(f"torch cannot compile it: {reason[:200]}") from error


class TorchCpu(Device):
    """The host, with as many threads inside an operator as asked for."""

    def __init__(self, threads: int) -> None:
        super().__init__(host_clocks(threads))
        self.threads = threads

    @contextmanager
    def active(self) -> Iterator[None]:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _check(settings: Settings, kind: str, mode: str) -> None:
    if mode not in MODES[kind]:
        raise InputError(f"--mode {mode} needs --device cuda; on the cpu there are {', '.join(MODES['cpu'])}")
    if kind == "cpu" and settings.threads < 1:
        raise InputError(f"threads must be at least 1, not {settings.threads}")
    if kind == "cpu":
        check_threads(settings.threads)
    if kind == "cpu" and settings.precision == "tf32":
        raise InputError("precision tf32 needs --device cuda; on the cpu there are fp32, fp16 and bf16")
