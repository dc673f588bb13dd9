"""The primitive operations that blocks are made of, each with its shapes.

Whatever must know what a block computes (its MACs, parameters and memory, its ONNX graph, its torch module, the
layers of an FPGA) reads it off these, each in one place, and refuses an operation that it does not know
(:func:`unknown`). Batch normalisation belongs to the convolution before it, into which every runtime folds it.

Shapes leave the batch out: (channels, height, width), or (features,) once flattened. Standard library only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from compofa.errors import InputError

Shape = tuple[int, ...]

AFFINE = ("norm", "bias", "none")
ACTIVATIONS = ("relu", "relu6", "hswish", "hsigmoid", "gelu")
INPUT = ""
"""The name of a block's input among the inputs of its operations."""


@dataclass(frozen=True)
class Operation(ABC):
    """One step of a block.

    Args:
        name: unique in its block; its weights are called ``name.weight`` and ``name.bias``.
        inputs: names of the operations whose outputs it takes, :data:`INPUT` for the block's input.
        in_shapes: of those.
    """

    name: str
    inputs: tuple[str, ...]
    in_shapes: tuple[Shape, ...]

    @property
    @abstractmethod
    def out_shape(self) -> Shape:
        """Shape of its output."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image; pooling, activations, norms and element-wise steps count as none."""
        return 0

    @property
    def weights(self) -> dict[str, Shape]:
        """Name and shape of each array that it holds as deployed, batch norm folded, in torch's layout."""
        return {}

    @property
    def params(self) -> int:
        """Trainable parameters: a norm's scale and shift are, its running statistics are not."""
        return sum(math.prod(shape) for shape in self.weights.values())


@dataclass(frozen=True)
class Convolution(Operation):
    """A convolution with "same" padding (``kernel // 2``), with what is added per channel.

    Args:
        out_channels: of the output.
        kernel: side of the window, odd.
        stride: step of the window.
        groups: that channels fall into; those of the input for a depthwise one.
        affine: ``norm`` (batch norm), ``bias`` or ``none``.
    """

    out_channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    affine: str = "norm"

    @property
    def out_shape(self) -> Shape:
        _, height, width = self.in_shapes[0]
        return (self.out_channels, -(-height // self.stride), -(-width // self.stride))

    @property
    def depthwise(self) -> bool:
        """Whether each output channel is of one input channel."""
        return self.groups == self.in_shapes[0][0] == self.out_channels and self.groups > 1

    @property
    def macs(self) -> int:
        return math.prod(self.weights[f"{self.name}.weight"]) * math.prod(self.out_shape[1:])

    @property
    def weights(self) -> dict[str, Shape]:
        fan = self.in_shapes[0][0] // self.groups
        weight: dict[str, Shape] = {f"{self.name}.weight": (self.out_channels, fan, self.kernel, self.kernel)}
        return weight if self.affine == "none" else {**weight, f"{self.name}.bias": (self.out_channels,)}

    @property
    def params(self) -> int:
        return super().params + (self.out_channels if self.affine == "norm" else 0)


@dataclass(frozen=True)
class FullyConnected(Operation):
    """(features,) -> (out_features,), with a bias."""

    out_features: int

    @property
    def out_shape(self) -> Shape:
        return (self.out_features,)

    @property
    def macs(self) -> int:
        return self.out_features * self.in_shapes[0][0]

    @property
    def weights(self) -> dict[str, Shape]:
        return {
            f"{self.name}.weight": (self.out_features, self.in_shapes[0][0]),
            f"{self.name}.bias": (self.out_features,),
        }


@dataclass(frozen=True)
class Flatten(Operation):
    """(channels, height, width) -> (channels x height x width,)."""

    @property
    def out_shape(self) -> Shape:
        return (math.prod(self.in_shapes[0]),)


@dataclass(frozen=True)
class Pool(Operation):
    """The mean or the maximum of each channel over windows.

    Args:
        how: ``average`` or ``maximum``.
        kernel: side of the window.
        stride: step of the window.
        padding: on each side; padded values count for nothing.
        ceil: a window that is not whole counts, too, with what there is of it.
    """

    how: str
    kernel: int
    stride: int
    padding: int = 0
    ceil: bool = False

    @property
    def out_shape(self) -> Shape:
        channels, height, width = self.in_shapes[0]
        return (channels, self._side(height), self._side(width))

    def _side(self, side: int) -> int:
        beyond = side + 2 * self.padding - self.kernel
        return (-(-beyond // self.stride) if self.ceil else beyond // self.stride) + 1


@dataclass(frozen=True)
class GlobalAverage(Operation):
    """The mean of each channel: (channels, height, width) -> (channels, 1, 1)."""

    @property
    def out_shape(self) -> Shape:
        return (self.in_shapes[0][0], 1, 1)


@dataclass(frozen=True)
class Activation(Operation):
    """A function of each value: one of :data:`ACTIVATIONS`."""

    function: str

    @property
    def out_shape(self) -> Shape:
        return self.in_shapes[0]


@dataclass(frozen=True)
class Add(Operation):
    """The sum of two tensors of one shape."""

    @property
    def out_shape(self) -> Shape:
        return self.in_shapes[0]


@dataclass(frozen=True)
class Multiply(Operation):
    """Each channel of the first times its factor in the second, (channels, 1, 1)."""

    @property
    def out_shape(self) -> Shape:
        return self.in_shapes[0]


@dataclass(frozen=True)
class LayerNorm(Operation):
    """Mean 0 and variance 1 over the channels of each pixel, then a scale and a shift per channel (eps 1e-6)."""

    @property
    def out_shape(self) -> Shape:
        return self.in_shapes[0]

    @property
    def weights(self) -> dict[str, Shape]:
        channels = self.in_shapes[0][0]
        return {f"{self.name}.weight": (channels,), f"{self.name}.bias": (channels,)}


@dataclass(frozen=True)
class Attention(Operation):
    """Softmax attention over pixels, ``softmax(q k / sqrt(channels of a head)) v``, from queries, keys and values of
    one shape.

    Args:
        heads: that channels fall into.
    """

    heads: int

    @property
    def out_shape(self) -> Shape:
        return self.in_shapes[0]

    @property
    def macs(self) -> int:
        channels, height, width = self.in_shapes[0]
        return 2 * channels * (height * width) ** 2


PRIMITIVES: tuple[type[Operation], ...] = (
    Convolution,
    FullyConnected,
    Flatten,
    Pool,
    GlobalAverage,
    Activation,
    Add,
    Multiply,
    LayerNorm,
    Attention,
)
"""Every operation of this module; kinds of one's own are made of these."""


def unknown(room: str, operation: Operation) -> InputError:
    """What a room says of an operation that it does not know."""
    return InputError(f"{room} does not know the operation {type(operation).__name__} ({operation.name})")


# --- listing them ---


@dataclass(frozen=True)
class Value:
    """The output of an operation, or the input of the block, while operations are being listed."""

    name: str
    shape: Shape


class Listing:
    """Operations in the making; each method appends one and returns its output.

    Args:
        in_shape: of the block's input, which is :attr:`input`.
    """

    def __init__(self, in_shape: Shape) -> None:
        self.input = Value(INPUT, in_shape)
        self.operations: list[Operation] = []

    def conv(
        self,
        name: str,
        value: Value,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        affine: str = "norm",
    ) -> Value:
        """A :class:`Convolution`."""
        return self._append(
            Convolution(name, (value.name,), (value.shape,), out_channels, kernel, stride, groups, affine)
        )

    def fully_connected(self, name: str, value: Value, out_features: int) -> Value:
        """A :class:`FullyConnected`."""
        return self._append(FullyConnected(name, (value.name,), (value.shape,), out_features))

    def flatten(self, name: str, value: Value) -> Value:
        """A :class:`Flatten`."""
        return self._append(Flatten(name, (value.name,), (value.shape,)))

    def pool(
        self,
        name: str,
        value: Value,
        how: str,
        kernel: int,
        stride: int,
        padding: int = 0,
        ceil: bool = False,
    ) -> Value:
        """A :class:`Pool`."""
        return self._append(Pool(name, (value.name,), (value.shape,), how, kernel, stride, padding, ceil))

    def global_average(self, name: str, value: Value) -> Value:
        """A :class:`GlobalAverage`."""
        return self._append(GlobalAverage(name, (value.name,), (value.shape,)))

    def activation(self, function: str, value: Value, name: str | None = None) -> Value:
        """An :class:`Activation`, called after its input unless named; none for ``none``."""
        if function == "none":
            return value
        name = name or f"{value.name}.{function}"
        return self._append(Activation(name, (value.name,), (value.shape,), function))

    def add(self, name: str, value: Value, other: Value) -> Value:
        """An :class:`Add`."""
        return self._append(Add(name, (value.name, other.name), (value.shape, other.shape)))

    def multiply(self, name: str, value: Value, factors: Value) -> Value:
        """A :class:`Multiply`."""
        return self._append(Multiply(name, (value.name, factors.name), (value.shape, factors.shape)))

    def layer_norm(self, name: str, value: Value) -> Value:
        """A :class:`LayerNorm`."""
        return self._append(LayerNorm(name, (value.name,), (value.shape,)))

    def attention(self, name: str, queries: Value, keys: Value, values: Value, heads: int) -> Value:
        """An :class:`Attention`.

        Raises:
            InputError: the shapes differ, or the channels do not fall into so many heads.
        """
        shapes = (queries.shape, keys.shape, values.shape)
        if len(set(shapes)) > 1 or heads < 1 or queries.shape[0] % heads:
            raise InputError(
                f"attention of {heads} heads over {shapes}: channels must fall into heads evenly"
            )
        return self._append(Attention(name, (queries.name, keys.name, values.name), shapes, heads))

    def _append(self, operation: Operation) -> Value:
        self.operations.append(operation)
        return Value(operation.name, operation.out_shape)
