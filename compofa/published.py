"""Supernets that OFA and CompOFA published: their state dicts under our names, and ours under theirs.

The names are those of the reference implementation's supernets (mit-han-lab/once-for-all, gatech-sysml/CompOFA):
MobileNetV3, ProxylessNAS, ResNet50D. Releases differ in what they call an inverted residual (``mobile_inverted_conv``
or ``conv``), and a layer that may shrink is a layer in a layer (``conv.conv.weight``) or is not; all are read.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compofa.errors import InputError
from compofa.spaces.family import Family, Unit
from compofa.supernet import Supernet

SPELLINGS = ("once-for-all", "compofa")
"""How a state dict is written: as the newest release of OFA reads it, or as CompOFA and older releases do."""

_INVERTED = {
    "expand": "inverted_bottleneck",
    "depthwise": "depth_conv",
    "project": "point_linear",
}
_GATE = {"se.reduce.": "depth_conv.se.fc.reduce.", "se.expand.": "depth_conv.se.fc.expand."}
_BOTTLENECK = {"reduce": "conv1", "spatial": "conv2", "expand": "conv3", "shortcut": "downsample"}


def _places(family: Family) -> Iterator[tuple[str, Unit, int]]:
    """Our prefix, the unit and the position of each block of the supernet."""
    elastic, fixed, room = -1, 0, "head"
    for number, unit in enumerate(family.units):
        if unit.elastic:
            elastic, fixed = elastic + 1, 0
            last = not any(later.elastic for later in family.units[number + 1 :])
            room = "tail" if last else f"between.{elastic}"
        for position in range(unit.max_depth):
            yield (f"units.{elastic}.{position}." if unit.elastic else f"{room}.{fixed}."), unit, position
            fixed += not unit.elastic


def _layers(ours: str, theirs: str, doubled: bool) -> Iterator[tuple[str, str]]:
    """A convolution with its norm; `doubled` where it is a layer in a layer."""
    more = ".conv" if doubled else ""
    yield f"{ours}conv.weight", f"{theirs}conv{more}.weight"
    yield f"{ours}bn.", f"{theirs}bn.{'bn.' if doubled else ''}"


def _inverted(ours: str, unit: Unit, number: int) -> Iterator[tuple[str, str]]:
    theirs = f"blocks.{number}.conv."
    for part, name in _INVERTED.items():
        yield from _layers(f"{ours}{part}.", f"{theirs}{name}.", bool(unit.elastic))
    for part, name in _GATE.items():
        yield f"{ours}{part}", f"{theirs}{name}"
    axis = unit.axis("kernel")
    for smaller, larger in pairwise(axis.values if axis else ()):
        yield f"{ours}depthwise.matrices.{smaller}", f"{theirs}depth_conv.conv.{larger}to{smaller}_matrix"


def _mobile(family: Family) -> Iterator[tuple[str, str]]:
    """MobileNetV3 and ProxylessNAS: a first convolution, inverted residuals, one or two more convolutions."""
    number, convolutions = 0, ["first_conv."]
    convolutions += ["final_expand_layer."] if family.published == "mbv3" else ["feature_mix_layer."]
    for ours, unit, _ in _places(family):
        if unit.kind == "mbconv":
            yield from _inverted(ours, unit, number)
            number += 1
        elif unit.kind == "conv":
            yield from _layers(ours, convolutions.pop(0), doubled=False)
        elif unit.kind == "mix":
            yield f"{ours}conv.weight", "feature_mix_layer.conv.weight"
        elif unit.kind == "linear":
            yield f"{ours}linear.", "classifier.linear."


def _resnet(family: Family) -> Iterator[tuple[str, str]]:
    """ResNet50D: a stem of three convolutions, the second of which is a residual block, then bottlenecks."""
    stem, number = ["input_stem.0.", "input_stem.1.conv.", "input_stem.2."], 0
    for ours, unit, _ in _places(family):
        if unit.kind == "conv":
            yield from _layers(ours, stem.pop(0), doubled=True)
        elif unit.kind == "bottleneck":
            for part, name in _BOTTLENECK.items():
                yield from _layers(f"{ours}{part}.", f"blocks.{number}.{name}.", doubled=True)
            number += 1
        elif unit.kind == "linear":
            yield f"{ours}linear.", "classifier.linear.linear."


_LAYOUTS: dict[str, Callable[[Family], Iterator[tuple[str, str]]]] = {
    "mbv3": _mobile,
    "proxyless": _mobile,
    "resnet": _resnet,
}


@lru_cache(maxsize=16)
def _names(family: Family) -> tuple[tuple[str, str], ...]:
    """Beginnings of our names with those of theirs, as the newest release writes them."""
    if family.published not in _LAYOUTS:
        raise InputError(
            f"nobody publishes supernets of family {family.name}, so none can be read or written"
        )
    return tuple(_LAYOUTS[family.published](family))


def _spellings(name: str) -> set[str]:
    """A published name, or the beginning of one, as any release writes it."""
    found = {name}
    for longer, shorter in ((".conv.weight", ".weight"), ("bn.bn.", "bn."), (".linear.linear.", ".linear.")):
        if name.endswith(longer) and (longer != ".conv.weight" or name.endswith(".conv.conv.weight")):
            found.add(name.removesuffix(longer) + shorter)
    if name.startswith("blocks."):
        blocks, number, rest = name.split(".", 2)
        found |= {
            f"{blocks}.{number}.mobile_inverted_{each.split('.', 2)[2]}"
            for each in found
            if rest.startswith("conv.")
        }
    return found


@lru_cache(maxsize=16)
def _ours(family: Family) -> dict[str, str]:
    return {spelt: ours for ours, theirs in _names(family) for spelt in _spellings(theirs)}


def our_name(family: Family, name: str) -> str:
    """What we call the published tensor `name`.

    Raises:
        InputError: the supernet of `family` has no such tensor.
    """
    beginnings = _ours(family)
    if name in beginnings:
        return beginnings[name]
    head, dot, last = name.rpartition(".")
    if head + dot in beginnings:
        return beginnings[head + dot] + last
    raise InputError(f"unknown tensor {name!r}: this is no published supernet of {family.name}'s kind")


def to_published(supernet: Supernet, spelling: str = "once-for-all") -> dict[str, Tensor]:
    """The state of `supernet` under published names, which the reference's code loads.

    Args:
        supernet: of a family that somebody publishes supernets of.
        spelling: one of :data:`SPELLINGS`.

    Raises:
        InputError: nobody publishes supernets of the family, or there is no such spelling.
    """
    if spelling not in SPELLINGS:
        raise InputError(f"unknown spelling {spelling!r}; there are {', '.join(SPELLINGS)}")
    beginnings = dict(_names(supernet.family))
    state = {}
    for name, value in supernet.state_dict().items():
        head, dot, last = name.rpartition(".")
        theirs = beginnings[name] if name in beginnings else beginnings[head + dot] + last
        if spelling == "compofa" and theirs.startswith("blocks.") and supernet.family.published != "resnet":
            theirs = theirs.replace(".conv.", ".mobile_inverted_conv.", 1)
        state[theirs] = value
    return state


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
    bias = next((value for name, value in ours.items() if name.endswith("linear.bias")), None)
    if bias is not None and bias.ndim == 1 and len(bias):
        family = replace(family, classes=len(bias))
    supernet = Supernet(family, wanted)
    own = supernet.state_dict()
    if not has_matrices:
        # the identity, which changes no subnet
        ours |= {name: value for name, value in own.items() if ".matrices." in name}
    elif not wanted:
        ours = {name: value for name, value in ours.items() if ".matrices." not in name}
    # files of older torch versions do not count batches
    counts = {n: v for n, v in own.items() if n.endswith("num_batches_tracked")}
    if words := differing(own, counts | ours):
        raise InputError(f"the state is not of a {family.name} supernet: {words}")
    supernet.load_state_dict(counts | ours)
    if words := unsound(supernet.state_dict()):
        raise InputError(words)
    return supernet


def differing(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """How the tensors of a file differ from those of a supernet, in words; None if they do not."""
    if missing := [name for name in own if name not in given]:
        return (
            f"it lacks {missing[0]} and {len(missing) - 1} others"
            if len(missing) > 1
            else f"it lacks {missing[0]}"
        )
    for name, value in given.items():
        if name not in own:
            return f"it has {name}, which the family has not"
        if value.shape != own[name].shape:
            return f"{name} has the shape {list(value.shape)}, not {list(own[name].shape)}"
    return None


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
