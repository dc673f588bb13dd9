"""What an accelerator runs: layers, finer than blocks, and blocks lowered to them.

A block is one entry of a lookup table; an accelerator sees its convolutions, its pooling and its element-wise
steps one by one. Layers also describe networks that hwbench cannot build but boards were measured with
(:mod:`backends.fpga.zoo`). Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from compofa.blocks import Block
from compofa.blocks.operations import (
    Activation,
    Add,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalAverage,
    Multiply,
    Operation,
    Pool,
    Shape,
    unknown,
)
from compofa.errors import InputError

KINDS = ("conv", "depthwise", "pool", "scale", "add", "act")
ACTIVATIONS = ("none", "relu", "hswish", "hsigmoid", "swish")
FUSED = {"relu": "relu", "relu6": "relu", "hswish": "hswish", "hsigmoid": "hsigmoid"}
"""The activation of a layer for that of an operation."""


@dataclass(frozen=True)
class Layer:
    """One step of an accelerator, for one image.

    Args:
        kind: ``conv`` (also 1x1 and fully connected), ``depthwise``, ``pool`` (average or maximum over
            windows; global with ``kernel = height``), ``scale`` (channels times factors, the end of SE),
            ``add`` (two tensors), ``act`` (an activation on its own).
        in_shape: input (channels, height, width).
        out_channels: output channels; those of the input unless `kind` is ``conv``.
        kernel, stride: side of the window and step.
        act: activation that follows: ``none``, ``relu`` (any clipped one), ``hswish``, ``hsigmoid``, ``swish`` (no
            array has it: it runs as a hard-sigmoid and a multiplication, steps of their own).
        add: a second tensor of the output's shape is added.
        valid: no padding: windows lie inside the input.
        name: for messages and traces; plays no part in comparisons.

    Raises:
        ValueError: a size is no positive integer, or the kind or the activation is unknown.
    """

    kind: str
    in_shape: tuple[int, int, int]
    out_channels: int
    kernel: int = 1
    stride: int = 1
    act: str = "none"
    add: bool = False
    valid: bool = False
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        sizes = (*self.in_shape, self.out_channels, self.kernel, self.stride)
        if len(self.in_shape) != 3 or not all(type(size) is int and size > 0 for size in sizes):
            raise InputError(f"layer sizes must be positive integers: {self!r}")
        if self.kind not in KINDS:
            raise InputError(f"unknown layer kind {self.kind!r}; there are {', '.join(KINDS)}")
        if self.act not in ACTIVATIONS:
            raise InputError(f"unknown activation {self.act!r}; there are {', '.join(ACTIVATIONS)}")
        if self.kind != "conv" and self.out_channels != self.in_shape[0]:
            raise InputError(f"only a conv changes the channels: {self!r}")

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """Output (channels, height, width)."""
        _, height, width = self.in_shape
        return (self.out_channels, self._out_side(height), self._out_side(width))

    def _out_side(self, side: int) -> int:
        return (side - self.kernel) // self.stride + 1 if self.valid else -(-side // self.stride)

    @property
    def macs(self) -> int:
        """Multiply-accumulates; pooling and element-wise steps count as none."""
        channels, height, width = self.out_shape
        if self.kind not in ("conv", "depthwise"):
            return 0
        return channels * height * width * self.kernel**2 * (self.in_shape[0] if self.kind == "conv" else 1)

    @property
    def weights(self) -> int:
        """Elements of the weights, or factors of a ``scale``; biases are left out."""
        if self.kind == "conv":
            return self.out_channels * self.in_shape[0] * self.kernel**2
        per_channel = {"depthwise": self.kernel**2, "scale": 1}
        return self.out_channels * per_channel.get(self.kind, 0)

    def __str__(self) -> str:
        channels, height, width = self.in_shape
        shape = f"{self.kind}-{channels}x{height}x{width}-{self.out_channels}-k{self.kernel}-s{self.stride}"
        return f"{self.name} ({shape})" if self.name else shape


def lower(block: Block) -> tuple[Layer, ...]:
    """The layers of `block`, in order, an activation and the shortcut's addition fused into what they follow.

    Raises:
        InputError: it has an operation that is not known here, or one that cannot be fused.
    """
    layers: dict[str, Layer] = {}  # by the name of the last operation that each computes
    for operation in block.operations:
        if isinstance(operation, Flatten):
            continue  # the same values in the same order
        if isinstance(operation, Activation | Add):
            before, layer = _fused(operation, layers)
            del layers[before]
        else:
            layer = _layer(operation)
        layers[operation.name] = layer
    return tuple(layers.values())


def _fused(operation: Activation | Add, layers: Mapping[str, Layer]) -> tuple[str, Layer]:
    """Into the latest of the layers that it follows: its name, and what becomes of it."""
    if name := next((name for name in [*layers][::-1] if name in operation.inputs), None):
        layer = layers[name]
        if isinstance(operation, Add) and not layer.add:
            return name, replace(layer, add=True)
        if isinstance(operation, Activation) and layer.act == "none" and operation.function in FUSED:
            return name, replace(layer, act=FUSED[operation.function])
    if isinstance(operation, Activation) and operation.function not in FUSED:
        raise InputError(f"the FPGA model has no activation {operation.function} ({operation.name})")
    raise unknown("the FPGA model", operation)


def _layer(operation: Operation) -> Layer:
    """`operation` as a layer of its own."""
    shape = _three(operation.in_shapes[0])
    channels, height, width = shape
    match operation:
        case Convolution(groups=1):
            return Layer(
                "conv", shape, operation.out_channels, operation.kernel, operation.stride, name=operation.name
            )
        case Convolution(depthwise=True):
            return Layer(
                "depthwise", shape, channels, operation.kernel, operation.stride, name=operation.name
            )
        case FullyConnected():
            return Layer("conv", shape, operation.out_features, name=operation.name)
        case GlobalAverage() if height == width:
            return Layer("pool", shape, channels, height, height, valid=True, name=operation.name)
        case Pool():
            valid = operation.padding == 0 and not operation.ceil
            return Layer(
                "pool", shape, channels, operation.kernel, operation.stride, valid=valid, name=operation.name
            )
        case Multiply():
            return Layer("scale", shape, channels, name=f"{operation.name}.scale")
    raise unknown("the FPGA model", operation)


def _three(shape: Shape) -> tuple[int, int, int]:
    channels, height, width = (*shape, 1, 1)[:3]
    return channels, height, width


def squeeze_excite(shape: tuple[int, int, int], squeezed: int) -> list[Layer]:
    """Squeeze-and-excitation on a tensor of `shape` (channels, height, width): pool, two 1x1 convolutions on
    one pixel, and the multiplication, which must wait for all of them."""
    channels, height, _ = shape
    return [
        Layer("pool", shape, channels, height, height, valid=True, name="se.pool"),
        Layer("conv", (channels, 1, 1), squeezed, act="relu", name="se.reduce"),
        Layer("conv", (squeezed, 1, 1), channels, act="hsigmoid", name="se.expand"),
        Layer("scale", shape, channels, name="se.scale"),
    ]


def total_macs(layers: Iterable[Layer]) -> int:
    """Multiply-accumulates of a network for one image."""
    return sum(layer.macs for layer in layers)
