"""What OpenVINO made of a model, and each of its fused nodes as a model of its own.

OpenVINO's runtime model names, for each node, the operators of the original that went into it. These operators are cut
out of the original together, and OpenVINO fuses them again. What it has no name for was fused into what takes it. What
flows between nodes lies in the order that the runtime gave it (channels last, in the main): a kernel is given it like
that, and transposes it back, which OpenVINO makes nothing of; where the network itself changes the order, the kernel
that needs the other one pays.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from backends.kernels.costs import COUNTED
from backends.kernels.files import ModelFile, is_external, location, tensors
from backends.kernels.kernel import Kernel, Tensor, dumped
from backends.kernels.layers import layers_by_name
from backends.kernels.openvino_costs import node_operations
from backends.kernels.openvino_groups import (
    Group,
    constant_of,
    digest_of,
    groups_of,
    names_of,
    title_of,
)
from backends.kernels.openvino_pieces import Cutter, Flow, Piece, name_of
from backends.kernels.runtime import Cut, Run, Values
from backends.kernels.sessions import random_inputs
from backends.openvino_cpu import bound_run, compiled_model, outputs_of, read
from compofa.errors import InputError, RunFailed

DOMAIN = "openvino"
FILE = "model.onnx"
HOLDS_A_GRAPH = {"If", "Loop", "TensorIterator"}


class OpenVinoModel:
    """What OpenVINO made of a model.

    Args:
        model: the file that it is of.
        path: of an ONNX file with the model and its weights.
        threads: of one run.
        seed: of the input.

    Raises:
        InputError: OpenVINO cannot run it.
    """

    own_buffers = True

    def __init__(self, model: ModelFile, path: Path, threads: int, seed: int = 0) -> None:
        self.threads = threads
        self.feeds: Values = random_inputs(model.proto.graph, seed)
        self._layers = layers_by_name(model.proto.graph)
        try:
            self._source = read(path)
            self._compiled = compiled_model(self._source, threads)
        except RuntimeError as error:
            raise InputError(f"{model.name}: {_why_not(str(error))}") from error

    # --- the whole ---

    def outputs_once(self) -> Values:
        """What one run gives.

        Raises:
            RunFailed: it fails.
        """
        return _run(self._compiled, self.feeds)

    def whole_run(self) -> Run:
        """One run of all of it, ready."""
        return bound_run(self._compiled, self.feeds)

    # --- groups ---

    @cached_property
    def _flowing(self) -> set[str]:
        """Operators that depend on what the model is given, not only on its shape."""
        found: set[str] = set()
        for node in self._source.get_ordered_ops():
            sources = {value.get_node().get_friendly_name() for value in node.input_values()}
            if node.get_type_name() == "Parameter" or (node.get_type_name() != "ShapeOf" and sources & found):
                found.add(node.get_friendly_name())
        return found

    @cached_property
    def _groups(self) -> list[Group]:
        """In the order of the run."""
        groups, owner = groups_of(self._compiled.get_runtime_model())
        ordered = [n for n in self._source.get_ordered_ops() if n.get_friendly_name() in self._flowing]
        for node in reversed(ordered):
            name = node.get_friendly_name()
            if node.get_type_name() in ("Parameter", "Result") or name in owner:
                continue
            takers = [t.get_node().get_friendly_name() for o in node.outputs() for t in o.get_target_inputs()]
            # Nobody names it: it went into what takes it, the first of several.
            known = [owner[taker] for taker in takers if taker in owner]
            if known:
                owner[name] = min(known)
        for node in ordered:
            place = owner.get(node.get_friendly_name())
            if place is not None and node.get_type_name() not in ("Parameter", "Result"):
                groups[place].members.append(node)
        return [group for _, group in sorted(groups.items()) if group.members]

    @cached_property
    def _orders(self) -> dict[str, tuple[int, ...]]:
        """In which the outputs of each group lie; by the name of the operator that gives them."""
        return {
            group.members[-1].get_friendly_name(): group.layout
            for group in self._groups
            if group.layout is not None
        }

    @cached_property
    def _flows(self) -> dict[str, Flow]:
        """Values between groups, by name."""
        found: dict[str, Flow] = {}
        for group in self._groups:
            for output in self._crossing(group):
                found[name_of(output)] = self._flow(output)
        for parameter in self._source.get_parameters():
            found[name_of(parameter.output(0))] = self._flow(parameter.output(0))
        return found

    def _flow(self, output: Any) -> Flow:
        return Flow.of(output, self._orders.get(output.get_node().get_friendly_name(), ()))

    def _crossing(self, group: Group) -> list[Any]:
        """Outputs of a group that others take."""
        own = {member.get_friendly_name() for member in group.members}
        return [
            output
            for member in group.members
            for output in member.outputs()
            if not output.get_partial_shape().is_dynamic
            and any(taker.get_node().get_friendly_name() not in own for taker in output.get_target_inputs())
        ]

    def _entering(self, group: Group) -> list[Any]:
        """Outputs of others that a group takes, each once."""
        own = {member.get_friendly_name() for member in group.members}
        found = {
            name_of(value): value
            for member in group.members
            for value in member.input_values()
            if value.get_node().get_friendly_name() in self._flowing - own
        }
        return list(found.values())

    # --- cutting ---

    @cached_property
    def cuts(self) -> list[Cut]:
        """All groups, in the order of the run."""
        return [self._cut(index, group) for index, group in enumerate(self._groups)]

    def _cut(self, index: int, group: Group) -> Cut:
        known = [value for value in self._entering(group) if not value.get_partial_shape().is_dynamic]
        op = title_of(group, plain=all(self._flow(value).plain for value in known))
        layer = next((self._layers[name] for name in names_of(group) if self._layers.get(name)), "")
        try:
            return Cut(index, group.name, self._kernel(group, op), op=op, layer=layer)
        except RunFailed as error:
            return Cut(index, group.name, None, str(error), op=op, layer=layer)

    def _kernel(self, group: Group, op: str) -> Kernel:
        for member in group.members:
            if member.get_type_name() in HOLDS_A_GRAPH:
                raise RunFailed("it holds a graph of its own (control flow), which is not cut")
            if any(one.get_partial_shape().is_dynamic for one in (*member.input_values(), *member.outputs())):
                raise RunFailed(f"a shape of {member.get_type_name()} is known only in a run")
        entering = {name_of(value): place for place, value in enumerate(self._entering(group))}
        flows = [self._flows[name] for name in entering]
        given = [self._flow(output) for output in self._crossing(group)]
        if not given:
            raise RunFailed("nobody takes what it gives")
        constants = [
            constant_of(value)
            for member in group.members
            for value in member.input_values()
            if value.get_node().get_friendly_name() not in self._flowing
        ]
        layouts = ["".join(map(str, flow.order)) for flow in (*flows, *given) if not flow.plain]
        attributes = {
            "graph": digest_of(group, entering, [flow.order for flow in (*flows, *given)]),
            COUNTED: sum(node_operations(member) for member in group.members),
            **({"layouts": ",".join(layouts)} if layouts else {}),
        }
        inputs = [Tensor(flow.dtype, flow.shape) for flow in flows]
        outputs = [Tensor(flow.dtype, flow.shape) for flow in given]
        return Kernel(op, DOMAIN, 1, dumped(attributes), (*inputs, *constants), tuple(outputs))

    def flowing_inputs(self, cut: Cut) -> list[str]:
        """Names of what the kernel takes that is no constant, each once."""
        return [name_of(value) for value in self._entering(self._groups[cut.index])]

    def input_name(self, cut: Cut, place: int) -> str:
        """Of the input at `place`."""
        return self.flowing_inputs(cut)[place]

    def outputs(self, cut: Cut) -> list[str]:
        """Names of what it gives."""
        return [name_of(output) for output in self._crossing(self._groups[cut.index])]

    def tensor(self, name: str) -> Tensor:
        """Element type and shape, as it lies in memory, of a value that kernels take or give."""
        flow = self._flows[name]
        return Tensor(flow.dtype, flow.lies_as)

    def values(self, names: Sequence[str]) -> Values:
        """What the model gives at `names`, as it lies in memory."""
        inputs = {name_of(p.output(0)): p.output(0).get_any_name() for p in self._source.get_parameters()}
        found = {name: np.asarray(self.feeds[inputs[name]]) for name in names if name in inputs}
        others = [name for name in names if name not in inputs]
        if others:
            from openvino import Model, opset13

            results = [opset13.result(self._flows[name].output) for name in others]
            model = Model(results, self._source.get_parameters())
            given = compiled_model(model, self.threads)({n: self.feeds[n] for n in self.feeds})
            arrays = [np.array(given[output]) for output in given]
            found |= {
                name: np.ascontiguousarray(array.transpose(self._flows[name].order))
                for name, array in zip(others, arrays, strict=True)
            }
        return found

    def alone(self, cut: Cut, feeds: Values, takes: Values) -> Run:
        """The kernel as a model of its own, ready to run.

        Raises:
            RunFailed: OpenVINO cannot run it so.
        """
        with _alone():
            return self._ready(self._cutter.piece(self._piece(cut)), feeds, takes)

    def beside(self, cut: Cut, feeds: Values) -> Run | None:
        """What :meth:`alone` runs besides the kernel; None if nothing."""
        with _alone():
            model = self._cutter.beside(self._piece(cut))
            return self._ready(model, feeds, {}) if model else None

    def computed(self, cut: Cut, feeds: Values) -> Values:
        """What the kernel alone makes of `feeds`.

        Raises:
            RunFailed: OpenVINO cannot run it so.
        """
        with _alone():
            return outputs_of(compiled_model(self._cutter.whole(self._piece(cut)), self.threads), feeds)

    def _ready(self, model: Any, feeds: Values, takes: Values) -> Run:
        compiled = compiled_model(model, self.threads)
        # Outputs of which a pixel leaves have no name, and inputs that are not taken are not there.
        there = {name for output in compiled.outputs for name in output.get_names()}
        given = {value.get_any_name() for value in compiled.inputs}
        once = bound_run(
            compiled,
            {name: array for name, array in feeds.items() if name in given},
            {name: array for name, array in takes.items() if name in there},
        )
        once()
        return once

    def _piece(self, cut: Cut) -> Piece:
        group = self._groups[cut.index]
        return Piece(
            tuple(member.get_friendly_name() for member in group.members),
            {name: self._flows[name] for name in self.flowing_inputs(cut)},
            {name: self._flows[name] for name in self.outputs(cut)},
        )

    @cached_property
    def _cutter(self) -> Cutter:
        return Cutter(self._source.clone())


@contextmanager
def openvino_model(model: ModelFile, threads: int, seed: int = 0) -> Iterator[OpenVinoModel]:
    """The model as OpenVINO runs it. Its weights stay in the file that they are in, which is mapped.

    Raises:
        InputError: OpenVINO cannot run the model.
    """
    with tempfile.TemporaryDirectory(prefix="hwbench-") as folder:
        path = Path(folder) / FILE
        path.write_bytes(model.proto.SerializeToString())
        for place in {location(tensor) for tensor in tensors(model.proto.graph) if is_external(tensor)}:
            _beside((model.folder / place).resolve(), Path(folder) / place)
        yield OpenVinoModel(model, path, threads, seed)


def _beside(weights: Path, there: Path) -> None:
    """`weights` under another name, without copying them where that can be: OpenVINO follows no symbolic link."""
    there.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(weights, there)
    except OSError:  # on another disk
        shutil.copyfile(weights, there)


# --- what OpenVINO says ---


def _why_not(text: str) -> str:
    line = " ".join(text.split())
    if found := re.search(
        r"(?:doesn't support|not support\w*|No conversion rule found for)[^:]*: ([\w.:]+)", line
    ):
        return f"OpenVINO has no operator {found[1]}"
    return f"OpenVINO cannot run it: {line[:300]}"


@contextmanager
def _alone() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RunFailed(f"a run alone fails: {' '.join(str(error).split())[:200]}") from error


def _run(compiled: Any, feeds: Values) -> Values:
    try:
        return outputs_of(compiled, feeds)
    except RuntimeError as error:
        raise RunFailed(f"a run fails: {' '.join(str(error).split())[:200]}") from error
