"""A torch module becomes an ONNX file."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compofa.errors import InputError, RunFailed
from hwbench.extras import need


def export(module: Any, example: Sequence[Any], folder: Path) -> Path:
    """Write `module` as an ONNX file into `folder`, by way of :func:`torch.export.export`.

    Args:
        module: a torch module, in the state in which it is to run.
        example: the tensors that it is called with.
        folder: for the file.

    Raises:
        InputError: it is no module, or there is no example.
        Unavailable: onnxscript, which torch exports with, is not installed.
        RunFailed: torch cannot export it.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InputError(
            f"a model is the path of an ONNX file or a torch module, not {type(module).__name__}"
        )
    if not example:
        raise InputError(
            "a torch module needs an example of what it is called with: profile(module, (tensor,))"
        )
    need("onnxscript", "exporting a torch module")
    path = folder / f"{type(module).__name__}.onnx"
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(module.eval(), tuple(example), dynamo=True, verbose=False)
            assert program is not None
            program.save(str(path), external_data=True)
    except Exception as error:
        raise RunFailed(
            f"torch cannot export {type(module).__name__}: {str(error).splitlines()[0][:200]}"
        ) from error
    return path
