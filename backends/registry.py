"""Backends by name, found through the entry-point group ``hwbench.backends``.

A package adds a backend with ``[project.entry-points."hwbench.backends"]`` and a line such as
``mine = "my_package:MyBackend"``.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from backends import plugin
from backends.base import Backend, BackendUnavailable
from compofa.errors import InputError

GROUP = "hwbench.backends"
BUILT_IN = {
    "fpga": "backends.fpga.backend:FpgaBackend",
    "onnxruntime": "backends.onnxruntime_cpu:OnnxRuntimeBackend",
    "tensorrt": "backends.tensorrt.backend:TensorRTBackend",
    "torch": "backends.torch_backend:TorchBackend",
    "tvm": "backends.tvm.backend:TvmBackend",
}
"""Found without being installed, so that a plain source checkout works."""


def _entry_points() -> dict[str, EntryPoint]:
    found = {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}
    found.update((point.name, point) for point in entry_points(group=GROUP))
    return dict(sorted(found.items()))


def names() -> tuple[str, ...]:
    """The backends there are, whether or not they can run here."""
    return tuple(_entry_points())


def load(name: str) -> type[Backend]:
    """The backend called `name`; one of another package is guarded, as :mod:`backends.plugin` says.

    Raises:
        InputError: there is none; the message lists those there are.
        BackendUnavailable: it cannot be loaded.
    """
    points = _entry_points()
    if name not in points:
        raise InputError(f"unknown backend {name!r}; there are {', '.join(points)}")
    if points[name].value != BUILT_IN.get(name):
        return plugin.load(points[name])
    try:
        backend: type[Backend] = points[name].load()
    except ImportError as error:
        raise BackendUnavailable(f"backend {name} cannot be loaded: {error}") from error
    return backend


def available() -> dict[str, str | None]:
    """Each backend's name, with why it cannot run here, or None if it can."""
    return {name: _reason(name) for name in names()}


def _reason(name: str) -> str | None:
    try:
        return load(name).probe()
    except Exception as error:  # a broken plug-in must not hide the others
        return f"broken: {error}"
