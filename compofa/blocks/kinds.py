"""The kinds of blocks: what each is made of, and which fields it takes.

A new kind is one function that lists its operations, one entry in :data:`KINDS` and one test. Sources: inverted
residuals are MobileNetV2's (arXiv:1801.04381), with MobileNetV3's squeeze-and-excitation (arXiv:1905.02244);
bottlenecks are ResNet-D's (arXiv:1812.01187), whose shortcut pools before it projects.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compofa.blocks.operations import Listing, Value
from compofa.errors import InputError

if TYPE_CHECKING:
    from compofa.blocks.block import Block


def make_divisible(value: float, divisor: int = 8) -> int:
    """`value` rounded half up to a multiple of `divisor`, never below 90 % of it.

    The rounding rule of the MobileNet papers, used for every width, hidden width and SE width.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


def conv(block: Block, ops: Listing) -> None:
    """Convolution, BN, activation, and the input added where there is a shortcut."""
    value = ops.conv("conv", ops.input, block.out_channels, block.kernel, block.stride)
    value = ops.activation(block.act, value)
    if block.shortcut:
        ops.add("add", value, ops.input)


def mbconv(block: Block, ops: Listing) -> None:
    """1x1 expand, k x k depthwise, optional squeeze-and-excitation, 1x1 project, optional shortcut."""
    hidden, value = block.hidden_channels, ops.input
    if block.expands:
        value = ops.activation(block.act, ops.conv("expand", value, hidden))
    value = ops.conv("depthwise", value, hidden, block.kernel, block.stride, groups=hidden)
    value = ops.activation(block.act, value)
    if block.se:
        value = _squeeze_excite(block, ops, value)
    value = ops.conv("project", value, block.out_channels)
    if block.shortcut:
        ops.add("add", value, ops.input)


def _squeeze_excite(block: Block, ops: Listing, value: Value) -> Value:
    gate = ops.global_average("se.pool", value)
    gate = ops.activation("relu", ops.conv("se.reduce", gate, block.se_channels, affine="bias"))
    gate = ops.conv("se.expand", gate, block.hidden_channels, affine="bias")
    return ops.multiply("se", value, ops.activation("hsigmoid", gate, "se.gate"))


def bottleneck(block: Block, ops: Listing) -> None:
    """1x1, k x k (the stride here), 1x1; the input is added, pooled and projected where shapes differ."""
    value = ops.activation(block.act, ops.conv("reduce", ops.input, block.hidden_channels))
    value = ops.conv("spatial", value, block.hidden_channels, block.kernel, block.stride)
    value = ops.conv("expand", ops.activation(block.act, value), block.out_channels)
    shortcut = ops.input
    if block.stride > 1:
        shortcut = ops.pool("shortcut.pool", shortcut, "average", block.stride, block.stride, ceil=True)
    if block.in_shape[0] != block.out_channels or block.stride > 1:
        shortcut = ops.conv("shortcut", shortcut, block.out_channels)
    ops.activation(block.act, ops.add("add", value, shortcut))


def pool(block: Block, ops: Listing) -> None:
    """The mean of each channel."""
    ops.global_average("pool", ops.input)


def maxpool(block: Block, ops: Listing) -> None:
    """The maximum of each channel over windows."""
    ops.pool("maxpool", ops.input, "maximum", block.kernel, block.stride, block.kernel // 2)


def mix(block: Block, ops: Listing) -> None:
    """1x1 convolution with neither BN nor bias, activation."""
    ops.activation(block.act, ops.conv("conv", ops.input, block.out_channels, affine="none"))


def linear(block: Block, ops: Listing) -> None:
    """The classifier."""
    ops.fully_connected("linear", ops.flatten("flatten", ops.input), block.out_channels)


def register_kind(
    name: str, list_operations: Callable[[Block, Listing], None], fields: Collection[str] = ()
) -> None:
    """Let blocks be of a kind of one's own.

    Args:
        name: of the kind; it begins the names of its blocks.
        list_operations: appends the operations of a block to a listing.
        fields: of a block, besides its input and output, that the kind takes; and whole numbers of its own, which
            :meth:`~compofa.blocks.Block.option` gives.

    Raises:
        InputError: there is another kind of that name.
    """
    if name in KINDS and KINDS[name].list_operations is not list_operations:
        raise InputError(f"there is a kind of block called {name!r} already")
    KINDS[name] = Kind(list_operations, frozenset(fields))


def pool_linear(block: Block, ops: Listing) -> None:
    """The mean of each channel and the classifier, as one: what ProxylessNAS's published table times together."""
    value = ops.flatten("flatten", ops.global_average("pool", ops.input))
    ops.fully_connected("linear", value, block.out_channels)


@dataclass(frozen=True)
class Kind:
    """What there is to know of a kind.

    Args:
        list_operations: appends the operations of a block to a listing.
        fields: of a block, besides its input and output, that the kind takes; the others keep their defaults.
        keeps_channels: the output has the channels of the input.
    """

    list_operations: Callable[[Block, Listing], None]
    fields: frozenset[str]
    keeps_channels: bool = False


def _kind(
    list_operations: Callable[[Block, Listing], None], *fields: str, keeps_channels: bool = False
) -> Kind:
    return Kind(list_operations, frozenset(fields), keeps_channels)


KINDS: dict[str, Kind] = {
    "conv": _kind(conv, "kernel", "stride", "act", "shortcut"),
    "mbconv": _kind(mbconv, "hidden_channels", "kernel", "stride", "se", "act", "shortcut"),
    "bottleneck": _kind(bottleneck, "hidden_channels", "kernel", "stride", "act"),
    "pool": _kind(pool, keeps_channels=True),
    "maxpool": _kind(maxpool, "kernel", "stride", keeps_channels=True),
    "mix": _kind(mix, "act"),
    "linear": _kind(linear),
    "pool_linear": _kind(pool_linear),
}
