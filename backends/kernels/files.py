"""ONNX files, read with care: structure first, weights never unless they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from backends.kernels.lean import Torn, lean
from compofa.errors import InputError
from compofa.files import reading

if TYPE_CHECKING:
    import onnx

MOST_PROTO_BYTES = 2**31 - 1
"""What one file in protobuf can hold; larger models keep their weights beside it."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModelFile:
    """An ONNX model whose inputs have fixed shapes.

    Args:
        name: for people.
        proto: the model; of one that was read, its weights stay in the file (:mod:`backends.kernels.lean`).
        folder: where the files of its weights are.
        size_bytes: with the weights.
    """

    name: str
    proto: onnx.ModelProto = field(repr=False)
    folder: Path
    size_bytes: int


def read_model(path: Path, shapes: Mapping[str, Shape] | None = None, batch: int | None = None) -> ModelFile:
    """The model at `path`.

    Args:
        path: of the ONNX file.
        shapes: of inputs, by name, where the file leaves them open.
        batch: the first dimension of all inputs, where the file leaves it open.

    Raises:
        OSError: it cannot be read.
        InputError: it is no ONNX model, lacks a part, or leaves a shape open that nothing gives.
    """
    path = Path(path)
    # ONNX Runtime follows no link that leads out of a folder, as hubs of models make them: the file itself is named.
    real = path.resolve()
    proto = _parse(path, lambda: lean(real))
    places = {location(tensor) for tensor in tensors(proto.graph) if is_external(tensor)}
    if real.parent != path.parent.resolve() and places - {real.name}:
        proto, real = _parse(path, path.read_bytes), path.absolute()  # its weights are beside the link
    fix_shapes(proto, shapes or {}, batch, str(path))
    return ModelFile(path.stem, proto, real.parent, proto.ByteSize() + _external_bytes(proto, real))


def model_of(
    proto: onnx.ModelProto,
    name: str,
    folder: Path,
    shapes: Mapping[str, Shape] | None = None,
    batch: int | None = None,
) -> ModelFile:
    """A model that is in memory, likewise; `folder` is where the files of its weights are, if it has any."""
    fix_shapes(proto, shapes or {}, batch, name)
    return ModelFile(name, proto, folder, proto.ByteSize() + _external_bytes(proto, folder / name))


def _parse(path: Path, content: Callable[[], bytes]) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if path.stat().st_size > MOST_PROTO_BYTES:
        raise InputError(f"{path} is larger than 2 GB in one file: save it with external data")
    try:
        proto = onnx.ModelProto.FromString(content())
    except (DecodeError, Torn):
        raise InputError(f"{path} is {_what_else(path)}: export it anew") from None
    if not proto.ir_version or not proto.graph.node:
        raise InputError(f"{path} is not an ONNX model, or one without a node")
    return proto


def _what_else(path: Path) -> str:
    with path.open("rb") as file:
        begin = file.read(3)
    # Field 1, the version of the format, comes first, then the producer or the graph.
    begins = len(begin) > 2 and begin[0] == 8 and begin[1] < 64
    return "a truncated or damaged ONNX model" if begins else "not an ONNX model"


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All constants of a graph and of those inside its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from tensors(attribute.g)


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether its values lie in a file of their own."""
    return bool(tensor.data_location == tensor.EXTERNAL)


def location(tensor: onnx.TensorProto) -> str:
    """The name of that file."""
    return next((str(pair.value) for pair in tensor.external_data if pair.key == "location"), "")


def _external_bytes(proto: onnx.ModelProto, path: Path) -> int:
    """How much lies beside the file; raises InputError if some of it is missing."""
    needed: dict[str, int] = {}
    for tensor in tensors(proto.graph):
        if is_external(tensor):
            entry = {pair.key: pair.value for pair in tensor.external_data}
            place = location(tensor)
            if not place or os.path.isabs(place) or ".." in Path(place).parts:
                raise InputError(
                    f"{path}: the data of {tensor.name} lie at {place!r}, which is no file beside it"
                )
            with reading(path, "an ONNX model"):
                end = int(entry.get("offset", 0)) + int(entry.get("length", 0))
            needed[place] = max(needed.get(place, 0), end)
    for place, end in needed.items():
        file = path.parent / place
        if not file.is_file():
            raise InputError(f"{path} lacks its external data {place}: put that file beside it")
        if file.stat().st_size < end:
            raise InputError(f"{file} is truncated: the model needs {end} bytes of it")
    return sum(needed.values())


# --- shapes ---


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that have no value of their own: old models list their weights among the inputs."""
    given = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in given]


def fix_shapes(proto: onnx.ModelProto, shapes: Mapping[str, Shape], batch: int | None, what: str) -> bool:
    """Give every input a fixed shape, in place; says whether anything changed.

    Raises:
        InputError: a shape is still open, does not fit, or is of an input that is not there.
    """
    inputs = real_inputs(proto.graph)
    if unknown := sorted(shapes.keys() - {value.name for value in inputs}):
        there = ", ".join(value.name for value in inputs)
        raise InputError(f"{what} has no input {unknown[0]}; it has {there}")
    fixed = [_fix(value, shapes.get(value.name), batch, what) for value in inputs]
    changed = any(fixed)
    if changed:  # what was inferred for open shapes holds no more
        del proto.graph.value_info[:]
        for value in proto.graph.output:
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
    return changed


def _fix(value: onnx.ValueInfoProto, given: Shape | None, batch: int | None, what: str) -> bool:
    if not value.type.HasField("tensor_type"):
        raise InputError(f"{what}: the input {value.name} is no tensor: hwbench runs tensors only")
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        if given is None:
            raise InputError(
                f"{what}: the input {value.name} has no shape: give --input {value.name}=SHAPE, such as 1x3x224x224"
            )
        for size in given:
            tensor.shape.dim.add().dim_value = size
        return True
    dims = tensor.shape.dim
    if given is not None and len(given) != len(dims):
        raise InputError(f"{what}: the input {value.name} has {len(dims)} dimensions, not {len(given)}")
    changed = False
    for place, dim in enumerate(dims):
        wanted = given[place] if given is not None else batch if place == 0 else None
        fixed = dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        if fixed is None and wanted is None:
            open_name = dim.dim_param or "?"
            raise InputError(
                f"{what}: the input {value.name} has the shape {_shown(dims)}, in which {open_name} is open: give "
                f"--input {value.name}=SHAPE" + (" or --batch N" if place == 0 else "")
            )
        if fixed is not None and wanted is not None and wanted != fixed:
            raise InputError(
                f"{what}: the input {value.name} has the fixed shape {_shown(dims)}, so it cannot have {wanted} where "
                f"that has {fixed}: export it with an open dimension"
            )
        if fixed is None and wanted is not None:
            dim.Clear()
            dim.dim_value = wanted
            changed = True
    return changed


def _shown(dims: Iterator[onnx.TensorShapeProto.Dimension]) -> str:
    return "x".join(str(dim.dim_value) if dim.dim_value > 0 else dim.dim_param or "?" for dim in dims)
