"""Supernets that OFA and CompOFA published: their state dicts under our names.

The names are those of the reference implementation's MobileNetV3 supernet (mit-han-lab/once-for-all,
gatech-sysml/CompOFA), of which newer releases call ``mobile_inverted_conv`` plain ``conv``.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compofa.errors import InputError
from compofa.families import Family
from compofa.supernet import Supernet

_WHOLE = {
    "first_conv.conv.": "head.0.conv.",
    "first_conv.bn.": "head.0.bn.",
    "final_expand_layer.conv.": "tail.0.conv.",
    "final_expand_layer.bn.": "tail.0.bn.",
    "feature_mix_layer.conv.": "tail.2.conv.",
    "classifier.linear.": "tail.3.linear.",
}
_FIRST_BLOCK = {
    "depth_conv.conv.": "head.1.depthwise.conv.",
    "depth_conv.bn.": "head.1.depthwise.bn.",
    "point_linear.conv.": "head.1.project.conv.",
    "point_linear.bn.": "head.1.project.bn.",
}
_ELASTIC_BLOCK = {
    "inverted_bottleneck.conv.conv.weight": "expand_weight",
    "inverted_bottleneck.bn.bn.": "expand_bn.",
    "depth_conv.conv.conv.weight": "depthwise.weight",
    "depth_conv.conv.7to5_matrix": "depthwise.matrices.5",
    "depth_conv.conv.5to3_matrix": "depthwise.matrices.3",
    "depth_conv.bn.bn.": "depthwise_bn.",
    "depth_conv.se.fc.reduce.": "se.reduce.",
    "depth_conv.se.fc.expand.": "se.expand.",
    "point_linear.conv.conv.weight": "project_weight",
    "point_linear.bn.bn.": "project_bn.",
}


def our_name(family: Family, name: str) -> str:
    """What we call the published tensor `name`.

    Raises:
        InputError: the supernet of `family` has no such tensor.
    """
    prefix, rest, table = "", name, _WHOLE
    if block := re.fullmatch(r"blocks\.(\d{1,4})\.(?:mobile_inverted_conv|conv)\.(.+)", name):
        number, rest = int(block[1]), block[2]
        unit, position = divmod(number - 1, family.max_depth)
        prefix = "" if number == 0 else f"units.{unit}.{position}."
        table = _ELASTIC_BLOCK if prefix else _FIRST_BLOCK
    for theirs, ours in table.items():
        if rest.startswith(theirs):
            return prefix + ours + rest.removeprefix(theirs)
    raise InputError(f"unknown tensor {name!r}: this is no published supernet of {family.name}'s kind")


def from_published(
    family: Family, state: Mapping[str, Tensor], kernel_transform: bool | None = None
) -> Supernet:
    """A supernet with the published weights and as many classes as they tell apart.

    Args:
        family: the skeleton.
        state: the published tensors by their names, a prefix ``module.`` or not.
        kernel_transform: as in `state` unless given.

    Raises:
        InputError: a tensor is unknown, missing, not finite or of another shape, as with a state of another width.
    """
    ours = {our_name(family, name.removeprefix("module.")): value for name, value in state.items()}
    has_matrices = any(".matrices." in name for name in ours)
    wanted = has_matrices if kernel_transform is None else kernel_transform
    bias = ours.get("tail.3.linear.bias")
    if bias is not None and bias.ndim == 1 and len(bias):
        family = replace(family, classes=len(bias))
    supernet = Supernet(family, wanted)
    matrices = {name: value for name, value in supernet.state_dict().items() if ".matrices." in name}
    if not has_matrices:
        ours |= matrices  # the identity, which changes no subnet
    elif not wanted:
        ours = {name: value for name, value in ours.items() if ".matrices." not in name}
    # files of older torch versions do not count batches
    counts = {n: v for n, v in supernet.state_dict().items() if n.endswith("num_batches_tracked")}
    try:
        supernet.load_state_dict(counts | ours)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"the state is not of a {family.name} supernet: {reason}") from error
    if words := unsound(supernet.state_dict()):
        raise InputError(words)
    return supernet


def unsound(state: Mapping[str, Tensor]) -> str | None:
    """Why no network can compute with these tensors, in words, if none can."""
    for name, value in state.items():
        if not value.isfinite().all():
            return f"{name} is not finite"
        if name.endswith("running_var") and value.numel() and value.min() < 0:
            return f"{name} holds a negative variance"
    return None


def load_published(family: Family, path: Path, kernel_transform: bool | None = None) -> Supernet:
    """The supernet in a published checkpoint (``.pth``, ``.pt``, ``.safetensors``), read without running any code
    from it.

    Raises:
        InputError: as :func:`from_published`; or it is damaged, or holds more than tensors.
        OSError: it cannot be read.
    """
    try:
        return from_published(family, _state(read_tensors(path)), kernel_transform)
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error


def read_tensors(path: Path) -> Any:
    """What a file of torch or safetensors holds: tensors, numbers and texts, in dicts and lists.

    Raises:
        InputError: it is damaged, holds anything else (which is not executed), or is no such file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        begins = file.read(9)
    if begins[8:] == b"{":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path} is no file of safetensors, or damaged: {error}") from error
    try:
        if begins.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums itself
                if broken := archive.testzip():
                    raise InputError(f"{path} is damaged: the checksum of {broken} is another")
        with warnings.catch_warnings(
            action="ignore"
        ):  # of torch, on unusual pickles: it reads them, or raises
            return torch.load(path, map_location="cpu", weights_only=True)
    except (InputError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} is not read: {_unsafe(error)}") from error
    except Exception as error:  # torch raises whatever damaged content makes it stumble over
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} is no file of torch, or damaged: {reason}") from error


def _unsafe(error: pickle.UnpicklingError) -> str:
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"it holds a Python object ({match[1]}) beside tensors, which could run code;"
            " save the state dict alone, with torch.save(state_dict, FILE)"
        )
    return "it is no file of torch, or holds what could run code; save the state dict alone"


def _state(content: Any) -> dict[str, Tensor]:
    """The state dict in what a checkpoint holds, alone or beside an epoch, an optimizer and the like."""
    for name in ("state_dict", "model", "net", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict) or not content:
        raise InputError("it holds no state dict")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise InputError(f"it holds no state dict: {str(name)[:60]!r} is no plain tensor")
    return content
