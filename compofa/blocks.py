"""What a network is made of: blocks, with their shapes, MACs, parameters and bytes.

A network is a tuple of :class:`Block`. A block is exactly what a backend measures and what a lookup
table is keyed by, so two blocks that run the same computation compare equal, whichever subnet they
came from. Standard library only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from compofa.errors import InputError

KINDS = ("conv", "mbconv", "pool", "mix", "linear")
ACTIVATIONS = ("none", "relu", "hswish")


def make_divisible(value: float, divisor: int = 8) -> int:
    """`value` rounded half up to a multiple of `divisor`, never below 90 % of it.

    The rounding rule of the MobileNet papers, used for every width, hidden width and SE width.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


@dataclass(frozen=True)
class Block:
    """One step of a network, batch size left out.

    Args:
        kind: ``conv`` (convolution, BN, activation), ``mbconv`` (inverted residual: 1x1 expand, k x k
            depthwise, optional squeeze-and-excitation, 1x1 project; the expand convolution is left out
            when `hidden_channels` equals the input channels), ``pool`` (global average),
            ``mix`` (1x1 convolution with neither BN nor bias, activation), ``linear`` (classifier).
        in_shape: input (channels, height, width).
        out_channels: output channels, or classes.
        hidden_channels: width of the depthwise convolution; 0 unless ``mbconv``.
        kernel: side of the (depthwise) convolution; padding is ``kernel // 2``.
        stride: of the (depthwise) convolution.
        se: squeeze-and-excitation after the depthwise convolution.
        act: ``none``, ``relu`` or ``hswish``.
        shortcut: the input is added to the output.

    Raises:
        ValueError: a field is out of range or the fields contradict each other.
    """

    kind: str
    in_shape: tuple[int, int, int]
    out_channels: int
    hidden_channels: int = 0
    kernel: int = 1
    stride: int = 1
    se: bool = False
    act: str = "none"
    shortcut: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", tuple(self.in_shape))
        sizes = (*self.in_shape, self.out_channels, self.kernel, self.stride)
        if len(self.in_shape) != 3 or not all(type(s) is int and s > 0 for s in sizes):
            raise InputError(f"block sizes must be positive integers: {self!r}")
        if type(self.hidden_channels) is not int:
            raise InputError(f"hidden_channels must be an integer: {self!r}")
        if self.kind not in KINDS:
            raise InputError(f"unknown block kind {self.kind!r}; there are {', '.join(KINDS)}")
        if self.act not in ACTIVATIONS:
            raise InputError(f"unknown activation {self.act!r}; there are {', '.join(ACTIVATIONS)}")
        if (self.kind == "mbconv") != (self.hidden_channels > 0):
            raise InputError(f"hidden_channels is for mbconv blocks, and they need it: {self!r}")
        if self.kernel % 2 == 0:
            raise InputError(f"kernels are odd: {self!r}")
        if self.se and self.kind != "mbconv":
            raise InputError(f"only mbconv blocks have SE: {self!r}")
        if self.shortcut and (
            self.kind != "mbconv" or self.stride != 1 or self.in_shape[0] != self.out_channels
        ):
            raise InputError(f"a shortcut needs an mbconv of stride 1 and equal channels: {self!r}")

    @cached_property
    def out_shape(self) -> tuple[int, int, int]:
        """Output (channels, height, width)."""
        _, height, width = self.in_shape
        if self.kind in ("pool", "linear"):
            return (self.out_channels, 1, 1)
        return (self.out_channels, -(-height // self.stride), -(-width // self.stride))

    @property
    def se_channels(self) -> int:
        """Width of the squeeze, 0 without SE."""
        return make_divisible(self.hidden_channels / 4) if self.se else 0

    @property
    def expands(self) -> bool:
        """Whether the 1x1 expand convolution is there."""
        return self.kind == "mbconv" and self.hidden_channels != self.in_shape[0]

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates for one image; pooling, activations, BN and adds count as none."""
        cin, height, width = self.in_shape
        cout, out_height, out_width = self.out_shape
        out_pixels = out_height * out_width
        if self.kind == "pool":
            return 0
        if self.kind in ("linear", "mix", "conv"):
            return cin * cout * self.kernel**2 * out_pixels
        hidden = self.hidden_channels
        expand = cin * hidden * height * width if self.expands else 0
        depthwise = hidden * self.kernel**2 * out_pixels
        return expand + depthwise + 2 * hidden * self.se_channels + hidden * cout * out_pixels

    @cached_property
    def params(self) -> int:
        """Trainable parameters, BN's scale and shift included, its running statistics not."""
        cin, cout = self.in_shape[0], self.out_channels
        if self.kind == "pool":
            return 0
        if self.kind == "linear":
            return cin * cout + cout
        if self.kind == "mix":
            return cin * cout
        if self.kind == "conv":
            return cin * cout * self.kernel**2 + 2 * cout
        hidden, squeeze = self.hidden_channels, self.se_channels
        expand = cin * hidden + 2 * hidden if self.expands else 0
        depthwise = hidden * self.kernel**2 + 2 * hidden
        se = 2 * hidden * squeeze + squeeze + hidden if self.se else 0
        return expand + depthwise + se + hidden * cout + 2 * cout

    def bytes_moved(self, batch: int = 1, bytes_per_element: int = 4) -> int:
        """Bytes of the input, the output and the weights (BN folded), each counted once.

        The least that must cross the memory bus when everything inside the block stays on chip.
        """
        cin, height, width = self.in_shape
        cout, out_height, out_width = self.out_shape
        activations = batch * (cin * height * width + cout * out_height * out_width)
        return bytes_per_element * (activations + self.params)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; :meth:`from_dict` reads them back."""
        return {**asdict(self), "in_shape": list(self.in_shape)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Block:
        """The block that :meth:`to_dict` wrote.

        Raises:
            ValueError: a field is missing, unknown or out of range.
        """
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(f"not a block: {error}") from error

    def __str__(self) -> str:
        cin, height, width = self.in_shape
        hidden = f"-{self.hidden_channels}" if self.hidden_channels else ""
        flags = ("-se" if self.se else "") + ("-add" if self.shortcut else "")
        act = "" if self.act == "none" else f"-{self.act}"
        return (
            f"{self.kind}-{cin}x{height}x{width}{hidden}-{self.out_channels}"
            f"-k{self.kernel}-s{self.stride}{flags}{act}"
        )


def total_macs(blocks: tuple[Block, ...]) -> int:
    """Multiply-accumulates of a network for one image."""
    return sum(block.macs for block in blocks)


def total_params(blocks: tuple[Block, ...]) -> int:
    """Trainable parameters of a static network."""
    return sum(block.params for block in blocks)


def check_chain(blocks: tuple[Block, ...]) -> None:
    """Raise ValueError unless each block takes what the one before it gives."""
    for before, after in pairwise(blocks):
        if before.out_shape != after.in_shape:
            raise InputError(
                f"{after} cannot follow {before}: it takes {after.in_shape}, not {before.out_shape}"
            )
