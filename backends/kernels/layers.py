"""Which of the user's layers a node of the optimised model is from.

A runtime keeps names halfway: a fused node is called after a value or a node of the original model, with something
appended. Exporters put the path of the module into the node's name or into its metadata.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata in which torch's exporter keeps the path of the module, innermost last, the operator itself at the end."""
APPENDED = re.compile(r"(_nchwc|_token_\d+|_quant|_output_\d+|/(?!.*/)\w*(?:Fusion|fusion)\w*/?|/[^/]*Fusion/?)$")


def layers(original: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """The layer of each node; empty where there is none to be named."""
    known: dict[str, str] = {}
    for node in original.node:
        layer = layer_of(node)
        for name in (node.name, *node.output):
            if name:
                known.setdefault(name, layer)
    found: list[str] = []
    behind: dict[str, str] = {}
    for node in nodes:
        layer = _find(node, known)
        if layer is None:  # the runtime's own, such as another layout: it serves what comes before
            layer = next((behind[name] for name in node.input if name in behind), "")
        behind |= dict.fromkeys(node.output, layer)
        found.append(layer)
    return found


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
