"""ONNX Runtime on other execution providers than its default: GPUs and vendors' libraries.

ONNX Runtime lists a provider that cannot start, and then runs on the processor without a word. So a session
counts only if it says that it runs on the provider asked for, with no node left to the processor.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from backends.base import BackendUnavailable, CannotRun, Network, Settings, Target
from backends.chained import CPU_TIMINGS, ChainBackend, Timings
from backends.device import Device
from backends.machine.clocks import Run, host_clocks
from backends.machine.cuda_probe import cuda_device_name, cuda_reason
from backends.machine.host import check_threads, cpu_name, package_versions
from backends.measuring import METHOD
from backends.onnxruntime_cpu import bound_run
from compofa.errors import InputError
from compofa.graph import network_to_onnx

if TYPE_CHECKING:
    import onnxruntime

CPU = "CPUExecutionProvider"
PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-ep-nv-tensorrt-rtx-cu12",
    "onnxruntime-ep-nv-tensorrt-rtx-cu13",
)
"""That decide the speed, as far as they are installed."""


TF32_SWITCH = "NVIDIA_TF32_OVERRIDE"
"""The environment's: 0 forbids NVIDIA's libraries TF32."""


@dataclass(frozen=True)
class Provider:
    """An execution provider.

    Args:
        name: ONNX Runtime's.
        install: the package that brings it.
        on_gpu: it needs an NVIDIA GPU.
        settings: given to it.
        plugin: module of a package that has to be registered first.
        tf32: it computes fp32 in TF32 unless the environment forbids it (:data:`TF32_SWITCH`).
    """

    name: str
    install: str
    on_gpu: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    plugin: str = ""
    tf32: bool = False

    @property
    def on_device(self) -> bool:
        """Whether inputs and outputs are kept on the GPU. ONNX Runtime allocates there only if it was built for
        CUDA, which it need not be for a plug-in."""
        return self.on_gpu and not self.plugin


PROVIDERS = {
    "cuda": Provider(
        "CUDAExecutionProvider",
        "onnxruntime-gpu",
        settings={"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"},
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        "onnxruntime-gpu tensorrt",
        settings={"trt_fp16_enable": "0"},
        tf32=True,
    ),
    "nv_tensorrt_rtx": Provider(
        "NvTensorRTRTXExecutionProvider",
        "onnxruntime-ep-nv-tensorrt-rtx-cu13",
        plugin="onnxruntime_ep_nv_tensorrt_rtx",
        tf32=True,
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider", "onnxruntime-openvino", on_gpu=False, settings={"device_type": "CPU"}
    ),
}
"""By their names on the command line; ``cpu``, the default, is :mod:`backends.onnxruntime_cpu`."""


class ProviderBackend(ChainBackend):
    """ONNX Runtime on one of :data:`PROVIDERS`; blocks are measured in chains.

    Args:
        settings: precision ``fp32`` or ``fp16``; `threads` for a provider on the processor; option ``provider``.
        timings: how long and how carefully to time.

    Raises:
        BackendUnavailable: this ONNX Runtime does not have the provider, or fell back to the processor.
    """

    name = "onnxruntime"
    element_bytes = {"fp32": 4, "fp16": 2}  # noqa: RUF012
    shares_activations = False

    def __init__(self, settings: Settings, timings: Timings = CPU_TIMINGS) -> None:
        self.provider = PROVIDERS[settings.options["provider"]]
        super().__init__(settings, timings)

    @classmethod
    def _check_options(cls, given: Mapping[str, str]) -> None:
        """Done by :class:`backends.onnxruntime_cpu.OnnxRuntimeBackend`."""

    @classmethod
    def probe(cls) -> str | None:
        return None if find_spec("onnxruntime") else "onnxruntime cannot be imported"

    def _open_device(self) -> Device:
        import onnxruntime

        if self.provider.on_gpu and (reason := cuda_reason()):
            raise BackendUnavailable(f"provider {self.provider.name} cannot run: {reason}")
        if not self.provider.on_gpu:
            check_threads(self.settings.threads)
        if self.provider.plugin:
            _register(self.provider)
        elif self.provider.name not in onnxruntime.get_available_providers():
            there = ", ".join(onnxruntime.get_available_providers())
            raise BackendUnavailable(
                f"this onnxruntime has no {self.provider.name}, only {there}; install with: "
                f"pip install {self.provider.install} (in place of onnxruntime)"
            )
        if self.provider.tf32 and self.settings.precision == "fp32" and os.environ.get(TF32_SWITCH) != "0":
            raise InputError(
                f"provider {self.provider.name} computes fp32 in TF32, another precision, on GPUs since Ampere, "
                f"and has no option against it: set {TF32_SWITCH}=0 in the environment, or give --precision fp16"
            )
        # What runs on a GPU, or in threads of a library's own, is waited for: wall time.
        return Device(host_clocks(0))

    @property
    def target(self) -> Target:
        return Target(
            backend=self.name,
            device=cuda_device_name() if self.provider.on_gpu else cpu_name(),
            precision=self.settings.precision,
            batch=self.settings.batch,
            threads=0 if self.provider.on_gpu else self.settings.threads,
            versions=package_versions(PACKAGES),
            details=(
                ("clock", self.device.clock_name),
                ("graph_optimization", "all"),
                ("provider", self.provider.name),
                ("timing", METHOD),
                *(
                    (("transfers", "counted"),)
                    if self.provider.on_gpu and not self.provider.on_device
                    else ()
                ),
            ),
        )

    def _ready(self, network: Network, seed: int) -> Run:
        precision = self.settings.precision
        model = network_to_onnx(network, batch=self.settings.batch, seed=seed, precision=precision)
        session = open_provider_session(model.SerializeToString(), self.provider, self.settings.threads)
        device = "cuda" if self.provider.on_device else "cpu"
        try:
            run = bound_run(session, seed, device)  # takes memory of the device
            run()
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise CannotRun(_one_line(error)) from error
        return run


def _register(provider: Provider) -> None:
    """Make a plug-in provider known to ONNX Runtime, once."""
    import importlib

    import onnxruntime

    if any(device.ep_name == provider.name for device in onnxruntime.get_ep_devices()):
        return
    if find_spec(provider.plugin) is None:
        raise BackendUnavailable(
            f"provider {provider.name} is not installed; install with: pip install {provider.install}"
        )
    plugin = importlib.import_module(provider.plugin)
    onnxruntime.register_execution_provider_library(provider.name, plugin.get_library_path())


def open_provider_session(model: bytes, provider: Provider, threads: int) -> onnxruntime.InferenceSession:
    """A session that runs on `provider`, all of it.

    Raises:
        BackendUnavailable: ONNX Runtime fell back to the processor.
        CannotRun: the provider cannot run the model, or not all of it.
    """
    try:
        session = _session(model, provider, threads, fall_back=False)
    except Exception as error:
        # Left to itself, would it run on the provider at all? If not, the model is not to blame.
        try:
            left_alone = _session(model, provider, threads, fall_back=True).get_providers()
        except Exception:
            raise CannotRun(_one_line(error)) from error
        verify(left_alone, provider)
        raise CannotRun(_one_line(error)) from error
    verify(session.get_providers(), provider)
    return session


def _session(model: bytes, provider: Provider, threads: int, fall_back: bool) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is in the exception
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if not fall_back:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    settings = dict(provider.settings)
    if not provider.on_gpu:
        settings["num_of_threads"] = str(threads)
    if provider.plugin:
        devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name == provider.name]
        options.add_provider_for_devices(devices[:1], settings)
        return onnxruntime.InferenceSession(model, options)
    with warnings.catch_warnings():  # that it falls back is ours to say
        warnings.simplefilter("ignore")
        return onnxruntime.InferenceSession(model, options, providers=[(provider.name, settings)])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def verify(found: list[str], provider: Provider) -> None:
    """Raise BackendUnavailable unless a session with the providers `found` runs on `provider`."""
    if found[:1] != [provider.name]:
        raise BackendUnavailable(
            f"ONNX Runtime could not start {provider.name} and fell back to {', '.join(found) or 'nothing'}; "
            f"its libraries do not fit this machine: reinstall {provider.install}"
        )
