"""Libraries that only a part of the work needs, and how to get them."""

from __future__ import annotations

from importlib.util import find_spec

from compofa.errors import Unavailable

EXTRAS = {
    "jinja2": "report",
    "onnx": "onnxruntime",
    "onnxruntime": "onnxruntime",
    "onnxscript": "networks",
    "pandas": "pandas",
    "pyarrow": "parquet",
    "shtab": "completion",
    "timm": "networks",
    "torch": "torch",
    "torchvision": "networks",
    "webdataset": "webdataset",
}
"""Module -> the extra of the package that brings it."""


def need(module: str, what: str) -> None:
    """Make sure, before long work begins, that a module is there which `what` needs.

    Raises:
        Unavailable: it is not; says what to install.
    """
    if find_spec(module) is None:
        raise _unavailable(module, what)


def missing(error: ModuleNotFoundError) -> Unavailable | None:
    """The error of ours that stands for a failed import, if the module comes with an extra."""
    module = (error.name or "").partition(".")[0]
    return _unavailable(module, "this") if module in EXTRAS else None


def _unavailable(module: str, what: str) -> Unavailable:
    return Unavailable(
        f"{what} needs {module}, which is not installed: pip install 'hwbench[{EXTRAS[module]}]'"
    )
