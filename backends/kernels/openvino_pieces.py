"""Kernels of OpenVINO as models of their own, in which it chooses the layouts that it chooses in the network.

What lies channels last in the network is given like that and transposed back, of which OpenVINO makes nothing where a
convolution follows. Other operators take whatever order they find, and would have it transposed in earnest. So each
kernel is anchored, which is to say put behind a convolution that does next to nothing, and whose time is taken off.
What a kernel gives in another order stays inside, but for one pixel: all of it would be copied on its way out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class Flow:
    """A value between two groups.

    Args:
        output: of the operator that gives it.
        shape: in the original.
        order: in which its dimensions lie in memory.
    """

    output: Any
    shape: tuple[int, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, output: Any, order: tuple[int, ...]) -> Self:
        """`order` as the runtime tells it. Where only sizes of 1 have moved, it lies as the original has it."""
        shape = tuple(output.get_shape())
        moved = [axis for axis in order if len(order) == len(shape) and shape[axis] != 1]
        return cls(output, shape, tuple(range(len(shape))) if moved == sorted(moved) else order)

    @property
    def lies_as(self) -> tuple[int, ...]:
        """The shape in memory."""
        return tuple(self.shape[axis] for axis in self.order)

    @property
    def plain(self) -> bool:
        """Whether it lies as the original has it."""
        return self.order == tuple(range(len(self.shape)))

    @property
    def dtype(self) -> str:
        """Element type, as NumPy calls it."""
        return str(np.dtype(self.output.get_element_type().to_dtype()))


@dataclass(frozen=True)
class Piece:
    """A kernel that is to be cut out.

    Args:
        members: names of its operators.
        takes: what flows in, by name.
        gives: what flows out, by name.
    """

    members: tuple[str, ...]
    takes: Mapping[str, Flow]
    gives: Mapping[str, Flow]

    @property
    def anchored(self) -> list[str]:
        """Inputs that need a convolution before them to lie as they do in the network."""
        return [
            name
            for name, flow in self.takes.items()
            if len(flow.shape) == 4 and not flow.plain and flow.dtype == "float32"
        ]

    def stays_inside(self, name: str) -> bool:
        """Whether no more than a pixel of what it gives leaves the model: all of it would be transposed for that."""
        return not self.gives[name].plain


class Cutter:
    """Cuts a model up.

    Args:
        model: an ``openvino.Model`` that nobody else needs: it falls to pieces.
    """

    def __init__(self, model: Any) -> None:
        self._nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
        # Before anything is cut: who takes what.
        self._sources = {
            name: [name_of(place.get_source_output()) for place in node.inputs()]
            for name, node in self._nodes.items()
        }

    def piece(self, piece: Piece) -> Any:
        """To be timed."""
        parameters, results = self._connect(piece, piece.anchored)
        for name, flow in piece.gives.items():
            inside = piece.stays_inside(name)
            results.append(self._pixel(flow) if inside else self._result(flow, name))
        return _model(results, parameters)

    def beside(self, piece: Piece) -> Any | None:
        """What :meth:`piece` runs besides the kernel: the anchors, and as many pixels taken out. None without
        anchors."""
        if not piece.anchored:
            return None
        parameters, results = [], []
        for name in piece.anchored:
            parameter, value = _given(piece.takes[name], name)
            parameters.append(parameter)
            anchor = _anchor(value, piece.takes[name])
            results.append(_pixel_of(anchor))
        # Each of another number of channels: OpenVINO would make one of equal ones.
        inside = [name for name in piece.gives if piece.stays_inside(name)]
        results += [_pixel_of(anchor, less) for less, _ in enumerate(inside, start=1)]
        return _model(results, parameters)

    def whole(self, piece: Piece) -> Any:
        """That gives all that it computes, in whatever way."""
        parameters, _ = self._connect(piece, ())
        return _model([self._result(flow, name) for name, flow in piece.gives.items()], parameters)

    def _connect(self, piece: Piece, anchored: Any) -> tuple[list[Any], list[Any]]:
        """Parameters for what flows in, and results that keep anchors apart from what follows them."""
        parameters, results = [], []
        for name, flow in piece.takes.items():
            parameter, value = _given(flow, name)
            parameters.append(parameter)
            if name in anchored:
                value = _anchor(value, flow)
                results.append(_pixel_of(value))
            for member in piece.members:
                for place, source in zip(self._nodes[member].inputs(), self._sources[member], strict=True):
                    if source == name:
                        place.replace_source_output(value)
        return parameters, results

    def _value(self, flow: Flow) -> Any:
        return self._nodes[flow.output.get_node().get_friendly_name()].output(flow.output.get_index())

    def _pixel(self, flow: Flow) -> Any:
        return _pixel_of(self._value(flow))

    def _result(self, flow: Flow, name: str) -> Any:
        """What gives `flow` out as it lies in memory."""
        from openvino import opset13

        value = self._value(flow)
        if not flow.plain:
            value = opset13.transpose(value, np.array(flow.order, np.int64)).output(0)
        value.get_tensor().set_names({name})
        return opset13.result(value)


def name_of(output: Any) -> str:
    """Of a value, among all of its model."""
    return f"{output.get_node().get_friendly_name()}:{output.get_index()}"


def _model(results: list[Any], parameters: list[Any]) -> Any:
    from openvino import Model

    return Model(results, parameters)


def _given(flow: Flow, name: str) -> tuple[Any, Any]:
    """A parameter for `flow` as it lies in memory, and the value in the original's order."""
    from openvino import opset13

    parameter = opset13.parameter(flow.lies_as, flow.output.get_element_type())
    parameter.output(0).get_tensor().set_names({name})
    if flow.plain:
        return parameter, parameter.output(0)
    back = np.argsort(flow.order).astype(np.int64)
    return parameter, opset13.transpose(parameter, back).output(0)


def _anchor(value: Any, flow: Flow) -> Any:
    """A convolution of each pixel of each channel with nearly 1, after which `value` lies channels last."""
    from openvino import opset13

    channels = flow.shape[1]
    weights = opset13.constant(np.full((channels, 1, 1, 1, 1), 1.01, np.float32))
    return opset13.group_convolution(value, weights, [1, 1], [0, 0], [0, 0], [1, 1]).output(0)


def _pixel_of(value: Any, less: int = 0) -> Any:
    """A result with one pixel of `value`, `less` that many channels if it has more."""
    from openvino import opset13

    shape = list(value.get_shape())
    end = [shape[0], max(shape[1] - less, 1)] + [1] * (len(shape) - 2)
    ones = [1] * len(shape)
    return opset13.result(
        opset13.strided_slice(value, [0] * len(shape), end, ones, [0] * len(shape), [0] * len(shape))
    )
