"""Which of the user's layers a node of the optimised model is from.

A runtime keeps names halfway: a fused node is called after a value or a node of the original model, with something
appended. Exporters put the path of the module into the node's name or into its metadata.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

Names = Callable[[Any], Sequence[str]]
SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata in which torch's exporter keeps the path of the module, innermost last, the operator itself at the end."""
APPENDED = re.compile(
    r"(_nchwc|_token_\d+|_quant|_output_\d+|/(?!.*/)\w*(?:Fusion|fusion)\w*/?|/[^/]*Fusion/?)$"
)


def layers(original: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """The layer of each node; empty where there is none to be named."""
    known = layers_by_name(original)
    found = [_find(node, known) for node in nodes]
    # The runtime's own, such as another layout, serve what comes before them, or, at the very beginning, what follows.
    before = _spread(nodes, found, lambda node: node.input, lambda node: node.output)
    after = _spread(nodes[::-1], found[::-1], lambda node: node.output, lambda node: node.input)[::-1]
    return [one or other or another or "" for one, other, another in zip(found, before, after, strict=True)]


def layers_by_name(original: onnx.GraphProto) -> dict[str, str]:
    """The layer of each node, by the node's name and by those of what it gives."""
    known: dict[str, str] = {}
    for node in original.node:
        layer = layer_of(node)
        for name in (node.name, *node.output):
            if name:
                known.setdefault(name, layer)
    return known


def _spread(
    nodes: Sequence[onnx.NodeProto], found: Sequence[str | None], takes: Names, gives: Names
) -> list[str | None]:
    """The layers, with those of neighbours where there is none."""
    near: dict[str, str | None] = {}
    spread = []
    for node, layer in zip(nodes, found, strict=True):
        layer = layer if layer is not None else next((near[n] for n in takes(node) if near.get(n)), None)
        near |= dict.fromkeys(gives(node), layer)
        spread.append(layer)
    return spread


def _find(node: onnx.NodeProto, known: Mapping[str, str]) -> str | None:
    # The output last: a node that changes the layout gives what the layer before it is to give.
    for name in (node.name, *node.output):
        while name:
            if name in known:
                return known[name]
            shorter = APPENDED.sub("", name)
            if shorter == name:
                break
            name = shorter
    return None


def layer_of(node: onnx.NodeProto) -> str:
    """The layer that a node of an exported model belongs to."""
    metadata = {pair.key: pair.value for pair in getattr(node, "metadata_props", ())}
    if SCOPES in metadata:
        try:
            scopes = [str(scope) for scope in ast.literal_eval(metadata[SCOPES])]
        except (ValueError, SyntaxError):
            scopes = []
        if len(scopes) > 1:
            return scopes[-2] or node.name
    return _path(node.name)


def _path(name: str) -> str:
    """``/layer1/layer1.0/conv1/Conv`` is ``layer1.0.conv1``; other names stay as they are."""
    parts = name.strip("/").split("/")
    if not name.startswith("/"):
        return name
    path, last = "", ""
    for part in parts[:-1]:
        if last and part.startswith(f"{last}."):
            path = path[: len(path) - len(last)] + part
        else:
            path = f"{path}.{part}" if path else part
        last = part
    return path or name
