"""The runtimes whose kernels can be timed on this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from backends.base import Settings
from backends.kernels.files import ModelFile
from backends.kernels.graph import optimised
from backends.kernels.openvino_graph import openvino_model
from backends.kernels.runtime import Made, Run, Runtime, Values
from backends.kernels.sessions import bound_run, open_as_is
from backends.onnxruntime_cpu import OnnxRuntimeBackend
from backends.openvino_cpu import OpenVinoBackend, small_run
from compofa.errors import InputError


class OnnxRuntime:
    """ONNX Runtime's CPU provider.

    Args:
        settings: threads and seed.
    """

    def __init__(self, settings: Settings) -> None:
        self.backend = OnnxRuntimeBackend(settings)

    def small(self, model: bytes, feeds: Values) -> Run:
        """One run of a small ONNX model that is optimised already."""
        return bound_run(open_as_is(model, self.backend.settings.threads, shared=True), feeds)

    def made(self, model: ModelFile) -> AbstractContextManager[Made]:
        """The model as ONNX Runtime optimises it."""
        return optimised(model, self.backend.settings.threads, self.backend.settings.seed)


class OpenVino:
    """OpenVINO's CPU plug-in.

    Args:
        settings: threads and seed.

    Raises:
        BackendUnavailable: OpenVINO is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self.backend = OpenVinoBackend(settings)

    def small(self, model: bytes, feeds: Values) -> Run:
        """One run of a small ONNX model."""
        return small_run(model, feeds, self.backend.settings.threads)

    def made(self, model: ModelFile) -> AbstractContextManager[Made]:
        """The model as OpenVINO fuses it."""
        return openvino_model(model, self.backend.settings.threads, self.backend.settings.seed)


RUNTIMES: dict[str, Callable[[Settings], Runtime]] = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def runtime(name: str, settings: Settings) -> Runtime:
    """The runtime called `name`.

    Raises:
        InputError: there is none, or it does not take the settings.
        BackendUnavailable: it is not installed.
    """
    if name not in RUNTIMES:
        raise InputError(f"kernels are cut from what {' or '.join(RUNTIMES)} makes of a model, not {name}")
    return RUNTIMES[name](settings)
