"""Which operators of a model OpenVINO runs as one, and what such a group is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends.kernels.costs import IN_PLACE_TITLE, VIEWS
from backends.kernels.kernel import MOST_VALUES, Tensor
from backends.kernels.openvino_pieces import name_of

NOT_RUN = {"Const", "Input", "Output", "Reorder"}
"""Layers of the runtime model that are none of the original's operators."""
FREE_IN_PLACE = {"Split", "Concatenation", "StridedSlice"}
"""What costs nothing where OpenVINO does it in place; it then names no implementation."""
MOST_NAMED = 4
"""Operators that the name of a kernel tells."""


@dataclass
class Group:
    """Operators that the runtime runs as one.

    Args:
        name: of the runtime's node.
        layer: the runtime's word for what it is.
        free: it is done in place, at no cost.
        layout: in which the first output lies, as a permutation of its dimensions; None where that is no permutation.
        members: the operators, in order.
    """

    name: str
    layer: str = ""
    free: bool = False
    layout: tuple[int, ...] | None = None
    members: list[Any] = field(default_factory=list)


def groups_of(runtime: Any) -> tuple[dict[int, Group], dict[str, int]]:
    """Of a runtime model: the nodes that are run, by their place in the run, and in which of them each operator is."""
    groups: dict[int, Group] = {}
    owner: dict[str, int] = {}
    for node in runtime.get_ordered_ops():
        told = {key: str(value.astype(str)) for key, value in node.get_rt_info().items()}
        if told["layerType"] in NOT_RUN:
            continue
        free = told["layerType"] in FREE_IN_PLACE and told["primitiveType"].startswith("unknown")
        place = int(told["execOrder"])
        layout = _permutation(told["outputLayouts"].split(",")[0])
        groups[place] = Group(node.get_friendly_name(), told["layerType"], free, layout)
        owner |= dict.fromkeys(filter(None, told["originalLayersNames"].split(",")), place)
    return groups, owner


def _permutation(layout: str) -> tuple[int, ...] | None:
    """``acdb`` is (0, 2, 3, 1); blocked layouts (``aBcd16b``) are none."""
    order = tuple(ord(letter) - ord("a") for letter in layout)
    return order if sorted(order) == list(range(len(order))) else None


# --- what a kernel is ---


def constant_of(value: Any) -> Tensor:
    """A constant that an operator takes, with its values where they are a setting."""
    shape, dtype = tuple(value.get_shape()), str(np.dtype(value.get_element_type().to_dtype()))
    node = value.get_node()
    if node.get_type_name() != "Constant" or dtype not in ("int32", "int64"):
        return Tensor(dtype, shape, constant=True)
    array = node.get_data().reshape(-1)
    values = tuple(map(int, array)) if len(array) <= MOST_VALUES else None
    return Tensor(dtype, shape, True, values)


def title_of(group: Group, plain: bool) -> str:
    """What people call it: the operators. `plain`: what it takes lies as in the original, else no view is free."""
    kinds = [member.get_type_name() for member in group.members]
    if kinds[0] in VIEWS and not plain:
        kinds = ["Reorder", *kinds]
    if group.free:
        return f"{kinds[-1]}{IN_PLACE_TITLE}"
    named = "+".join(kinds[:MOST_NAMED])
    return named if len(kinds) <= MOST_NAMED else f"{named}+{len(kinds) - MOST_NAMED}"


def names_of(group: Group) -> list[str]:
    """Of its operators, the last first: that is the one that exporters name best."""
    return [member.get_friendly_name() for member in reversed(group.members)]


def digest_of(group: Group, entering: Mapping[str, int], orders: Sequence[Sequence[int]]) -> str:
    """Short hash of what a group computes: its operators, their attributes, and who takes what from whom."""
    places = {member.get_friendly_name(): place for place, member in enumerate(group.members)}
    text = []
    for member in group.members:
        takes: list[Any] = []
        for value in member.input_values():
            name = value.get_node().get_friendly_name()
            inner = [places[name], value.get_index()] if name in places else None
            takes.append(inner if inner else entering.get(name_of(value), "constant"))
        text.append([member.get_type_name(), {k: str(v) for k, v in member.get_attributes().items()}, takes])
    return hashlib.sha256(json.dumps([text, list(map(list, orders))], sort_keys=True).encode()).hexdigest()[
        :16
    ]
