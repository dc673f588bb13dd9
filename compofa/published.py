"""Supernets that OFA and CompOFA published: their state dicts under our names.

The names are those of the reference implementation's MobileNetV3 supernet (mit-han-lab/once-for-all,
gatech-sysml/CompOFA), of which newer releases call ``mobile_inverted_conv`` plain ``conv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
        ValueError: the supernet of `family` has no such tensor.
    """
    prefix, rest, table = "", name, _WHOLE
    if name.startswith("blocks."):
        _, number, branch, rest = name.split(".", 3)
        if branch not in ("mobile_inverted_conv", "conv"):
            raise InputError(f"unknown tensor {name!r} in a published supernet")
        unit, position = divmod(int(number) - 1, family.max_depth)
        prefix = "" if number == "0" else f"units.{unit}.{position}."
        table = _ELASTIC_BLOCK if prefix else _FIRST_BLOCK
    for theirs, ours in table.items():
        if rest.startswith(theirs):
            return prefix + ours + rest.removeprefix(theirs)
    raise InputError(f"unknown tensor {name!r} in a published supernet")


def from_published(family: Family, state: Mapping[str, Tensor]) -> Supernet:
    """A supernet with the published weights; without kernel matrices if `state` has none.

    Raises:
        ValueError: a tensor is unknown, missing or of another shape, as with a state of another width.
    """
    ours = {our_name(family, name): value for name, value in state.items()}
    supernet = Supernet(family, kernel_transform=any(".matrices." in name for name in ours))
    try:
        supernet.load_state_dict(ours)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"the state is not of a {family.name} supernet: {reason}") from error
    return supernet


def load_published(family: Family, path: Path) -> Supernet:
    """The supernet in a published checkpoint, read without running any code from it.

    Raises:
        ValueError: as :func:`from_published`.
        OSError: it cannot be read.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    return from_published(family, content.get("state_dict", content))
