"""The model that the runtime made of a model, and each of its nodes as a model of its own.

Its weights stay in a file; what a kernel needs of them is read when it is cut out. Shapes that the file does not tell
(ONNX Runtime's blocked layouts have none) come from a run that gives nothing but shapes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.kernels.costs import IN_PLACE, VIEWS
from backends.kernels.files import ModelFile
from backends.kernels.kernel import MOST_VALUES, Kernel, Tensor, dumped
from backends.kernels.layers import layers
from backends.kernels.runtime import Cut, Run, Values
from backends.kernels.sessions import bound_run, numpy_type, open_as_is, open_model, random_inputs, run
from compofa.errors import RunFailed

if TYPE_CHECKING:
    import onnx
    import onnxruntime

FILE = "optimised.onnx"
PROBE = "probe.onnx"


class OptimisedModel:
    """What ONNX Runtime made of a model.

    Args:
        folder: where :data:`FILE` and its weights are.
        threads: of one run.
        seed: of the input.
        original: the user's graph, for the names of its layers.
    """

    own_buffers = False

    def __init__(
        self, folder: Path, threads: int, seed: int = 0, original: onnx.GraphProto | None = None
    ) -> None:
        import onnx

        self.folder, self.threads, self.original = folder, threads, original
        self.proto: onnx.ModelProto = onnx.load(str(folder / FILE), load_external_data=False)
        self.constants = {tensor.name: tensor for tensor in self.proto.graph.initializer}
        self.feeds: Values = random_inputs(self.proto.graph, seed)

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """In the order of the run."""
        return list(self.proto.graph.node)

    def whole(self) -> onnxruntime.InferenceSession:
        """All of it, ready to run: what the runtime would make of the user's file, without making it again."""
        return open_as_is(self.folder / FILE, self.threads)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return self.whole()

    def whole_run(self) -> Run:
        """One run of all of it, ready."""
        return bound_run(self._session, self.feeds)

    def outputs_once(self) -> Values:
        """What one run gives."""
        return run(self._session, self.feeds)

    # --- what flows between the nodes ---

    def _probe(self, names: Sequence[str], shapes_of: Sequence[str] = ()) -> Any:
        """A session that also gives the values called `names`, and the shapes of others."""
        import onnx
        from onnx import helper

        probe = onnx.ModelProto()
        probe.CopyFrom(self.proto)
        given = {value.name for value in probe.graph.output}
        outputs = [onnx.ValueInfoProto(name=name) for name in names if name not in given]
        for name in shapes_of:
            probe.graph.node.append(helper.make_node("Shape", [name], [_shape_name(name)]))
            outputs.append(helper.make_tensor_value_info(_shape_name(name), onnx.TensorProto.INT64, None))
        probe.graph.output.extend(outputs)
        path = self.folder / PROBE
        path.write_bytes(probe.SerializeToString())
        try:
            return open_as_is(path, self.threads, thrifty=True)
        finally:
            path.unlink()

    def values(self, names: Sequence[str]) -> Values:
        """What the model gives at `names`, intermediate values among them."""
        inputs = {name: self.feeds[name] for name in names if name in self.feeds}
        others = [name for name in names if name not in inputs]
        return {**inputs, **(run(self._probe(others), self.feeds, others) if others else {})}

    @cached_property
    def flows(self) -> dict[str, Tensor | None]:
        """Element type and shape of every value; None of what is no tensor."""
        found = {name: Tensor(str(array.dtype), array.shape) for name, array in self.feeds.items()}
        found |= {name: self._constant(tensor) for name, tensor in self.constants.items()}
        graph = self.proto.graph
        for value in (*graph.value_info, *graph.output):
            if tensor := _told(value):
                found.setdefault(value.name, tensor)
        rest = [o for node in graph.node for o in node.output if o and o not in found]
        return {**found, **self._observed(rest)}

    def _observed(self, names: Sequence[str]) -> dict[str, Tensor | None]:
        if not names:
            return {}
        # Types from a session that is never run: as outputs, all values would be in memory together.
        types = {output.name: numpy_type(output.type) for output in self._probe(names).get_outputs()}
        tensors = [name for name in names if types[name]]
        asked = [_shape_name(name) for name in tensors]
        shapes = run(self._probe((), tensors), self.feeds, asked)
        found = {n: Tensor(str(types[n]), tuple(map(int, shapes[_shape_name(n)]))) for n in tensors}
        return {name: found.get(name) for name in names}

    def _constant(self, tensor: onnx.TensorProto) -> Tensor:
        dtype, shape = _dtype(tensor.data_type), tuple(tensor.dims)
        settled = Tensor(dtype, shape, constant=True)
        if dtype not in ("int32", "int64") or settled.elements > MOST_VALUES:
            return settled
        values = tuple(int(value) for value in self._array(tensor).reshape(-1))
        return Tensor(dtype, shape, True, values)

    def _array(self, tensor: onnx.TensorProto) -> Any:
        from onnx import numpy_helper

        return numpy_helper.to_array(tensor, base_dir=str(self.folder))

    # --- cutting ---

    @cached_property
    def cuts(self) -> list[Cut]:
        """All nodes, in the order of the run."""
        names = layers(self.original, self.nodes) if self.original else [""] * len(self.nodes)
        return [self._cut(*one) for one in zip(range(len(names)), self.nodes, names, strict=True)]

    def _cut(self, index: int, node: onnx.NodeProto, layer: str) -> Cut:
        try:
            return Cut(index, node.name, self._kernel(node, index), op=node.op_type, layer=layer)
        except RunFailed as error:
            return Cut(index, node.name, None, str(error), op=node.op_type, layer=layer)

    def _kernel(self, node: onnx.NodeProto, index: int) -> Kernel:
        attributes = {a.name: _attribute(a) for a in node.attribute}
        inputs, outputs = (
            tuple(self._tensor(name, node) if name else None for name in side)
            for side in (node.input, node.output)
        )
        if outputs and outputs[0] is None:
            raise RunFailed(f"{node.op_type} does not give its first output")
        since = _since(node, {opset.domain: opset.version for opset in self.proto.opset_import})
        in_place = self._in_place(node, index, inputs, outputs)
        return Kernel(
            node.op_type, _domain(node.domain), since, dumped(attributes), inputs, outputs, in_place
        )

    @cached_property
    def _last_use(self) -> dict[str, int]:
        """The index of the node that takes a value last; values that outlive the run are not there."""
        found = {name: index for index, node in enumerate(self.proto.graph.node) for name in node.input}
        # A view is the same memory under another name.
        for index, node in reversed(list(enumerate(self.proto.graph.node))):
            if node.op_type in VIEWS and node.input and node.output:
                found[node.input[0]] = max(found[node.input[0]], found.get(node.output[0], index))
        for value in self.proto.graph.output:
            found.pop(value.name, None)
        return found

    def _in_place(
        self,
        node: onnx.NodeProto,
        index: int,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor | None],
    ) -> int | None:
        for place in IN_PLACE.get(node.op_type, ()):
            if place >= len(inputs):
                continue
            tensor, name = inputs[place], node.input[place]
            free = name not in self.constants and name not in self.feeds and self._last_use.get(name) == index
            alike = (
                tensor
                and outputs[0]
                and (tensor.dtype, tensor.elements) == (outputs[0].dtype, outputs[0].elements)
            )
            if free and alike and list(node.input).count(name) == 1:
                return place
        return None

    def _tensor(self, name: str, node: onnx.NodeProto) -> Tensor:
        if tensor := self.flows.get(name):
            return tensor
        raise RunFailed(f"{node.op_type} takes or gives what is no tensor ({name})")

    def flowing_inputs(self, cut: Cut) -> list[str]:
        """Names of what the node takes that is no constant, each once."""
        names = self.proto.graph.node[cut.index].input
        return list(dict.fromkeys(name for name in names if name and name not in self.constants))

    def tensor(self, name: str) -> Tensor:
        """Element type and shape of a value that kernels take or give."""
        found = self.flows[name]
        assert found is not None
        return found

    def input_name(self, cut: Cut, place: int) -> str:
        """Of the input at `place`."""
        return str(self.proto.graph.node[cut.index].input[place])

    def outputs(self, cut: Cut) -> list[str]:
        """Names of what it gives."""
        return [name for name in self.proto.graph.node[cut.index].output if name]

    def alone(self, cut: Cut, feeds: Values, takes: Values) -> Run:
        """One run of a node alone, ready.

        Raises:
            RunFailed: it cannot be run so.
        """
        session = open_as_is(self._alone(cut), self.threads, folder=self.folder, shared=True)
        once = bound_run(session, feeds, takes)
        try:
            once()
        except Exception as error:
            raise RunFailed(f"a run alone fails: {' '.join(str(error).split())[:200]}") from error
        return once

    def beside(self, cut: Cut, feeds: Values) -> Run | None:
        """Nothing but the kernel is run."""
        return None

    def computed(self, cut: Cut, feeds: Values) -> Values:
        """What the kernel alone makes of `feeds`.

        Raises:
            RunFailed: it cannot be run so.
        """
        return run(open_as_is(self._alone(cut), self.threads, folder=self.folder), feeds)

    def _alone(self, cut: Cut) -> bytes:
        """The node as a model of its own; large constants stay in the file that they are in."""
        from onnx import helper

        node = self.proto.graph.node[cut.index]
        constants = [self.constants[name] for name in dict.fromkeys(node.input) if name in self.constants]
        graph = helper.make_graph(
            [node],
            "kernel",
            [self._info(name) for name in self.flowing_inputs(cut)],
            [self._info(name) for name in self.outputs(cut)],
            constants,
        )
        opsets = list(self.proto.opset_import)
        made = helper.make_model(graph, opset_imports=opsets, ir_version=self.proto.ir_version)
        content: bytes = made.SerializeToString()
        return content

    def _info(self, name: str) -> onnx.ValueInfoProto:
        from onnx import helper

        tensor = self.tensor(name)
        element = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
        return helper.make_tensor_value_info(name, element, tensor.shape)


@contextmanager
def optimised(model: ModelFile, threads: int, seed: int = 0) -> Iterator[OptimisedModel]:
    """The model as the runtime optimises it; its file is there as long as the block lasts.

    Raises:
        InputError: the runtime cannot run the model.
    """
    with tempfile.TemporaryDirectory(prefix="hwbench-") as folder:
        open_model(model, threads, Path(folder) / FILE)
        yield OptimisedModel(Path(folder), threads, seed, model.proto.graph)


def _shape_name(name: str) -> str:
    return f"{name}:shape"


def _dtype(element: int) -> str:
    from onnx import helper

    return str(np.dtype(helper.tensor_dtype_to_np_dtype(element)))


def _told(value: onnx.ValueInfoProto) -> Tensor | None:
    """What the file says of a value; None if it leaves something open."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    tensor = value.type.tensor_type
    if not all(dim.HasField("dim_value") for dim in tensor.shape.dim) or not tensor.elem_type:
        return None
    return Tensor(_dtype(tensor.elem_type), tuple(dim.dim_value for dim in tensor.shape.dim))


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _since(node: onnx.NodeProto, opsets: dict[str, int]) -> int:
    import onnx

    domain = _domain(node.domain)
    version = opsets.get(domain, 1)
    try:
        return int(onnx.defs.get_schema(node.op_type, version, domain).since_version)
    except Exception:  # an operator of the runtime's own
        return version


def _attribute(attribute: onnx.AttributeProto) -> Any:
    """Its value, JSON-ready."""
    from onnx import helper, numpy_helper

    if attribute.HasField("g") or attribute.graphs:
        raise RunFailed("it holds a graph of its own (control flow), which is not cut")
    if attribute.HasField("t"):
        array = numpy_helper.to_array(attribute.t)
        return array.reshape(-1)[:MOST_VALUES].tolist()
    value = helper.get_attribute_value(attribute)
    return (
        _text(value)
        if not isinstance(value, Sequence) or isinstance(value, bytes)
        else [_text(v) for v in value]
    )


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
