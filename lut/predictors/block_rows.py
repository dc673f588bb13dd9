"""What is known of a block before it is measured, as feature rows.

Two views of the same knowledge: *launches* and *work*, in which the latency of a block is nearly additive, and
*descriptors*, logarithms and flags scaled so that a distance of one means about as
much in each: for models that learn from neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from compofa.blocks import Block, check_operations
from compofa.blocks.operations import Convolution
from lut.predictors.base import Floats, Rows

KINDS = ("conv", "mbconv", "pool", "mix", "linear")
"""That have a column of their own; of other kinds, what they compute says enough."""

LAUNCHES = ("blocks", "inverted residuals", "squeezes", "h-swishes")
"""What must be started, whatever its size."""

WORK = (
    "pointwise MACs",
    "depthwise MACs",
    "depthwise rows",
    "other MACs",
    "squeeze MACs",
    "activations",
    "parameters",
    "h-swish activations",
    "squeezed activations",
)
"""What must be done or moved, in millions for one image."""

DESCRIPTORS = (
    "log out side",
    "log in side",
    "log hidden",
    "log in channels",
    "log out channels",
    "kernel",
    "stride",
    "se",
    "hswish",
    "expands",
    "shortcut",
    "out side padded to 2",
    "in side padded to 2",
    "out pixels padded to 4",
    *KINDS,
)
"""The columns of :func:`descriptors`. The padding is what vector units and tiles work on in vain: latency over
pixels is a saw, not a line."""


def block_rows(blocks: Sequence[Block]) -> Rows:
    """Feature rows of `blocks`; the prior is in milliseconds on a core of 1 GMAC/s, 10 us to start a block."""
    for block in blocks:
        check_operations("the model of blocks", block)
    costs = np.array([_costs(block) for block in blocks], dtype=float)
    launches, work = np.hsplit(costs.reshape(-1, len(LAUNCHES) + len(WORK)), [len(LAUNCHES)])
    macs = work[:, [name.endswith("MACs") for name in WORK]].sum(axis=1)
    prior = 0.01 + macs + 0.1 * work[:, WORK.index("activations")]
    return Rows({"launches": launches, "work": work}, descriptors(blocks), prior)


def _costs(block: Block) -> tuple[float, ...]:
    return _known_costs(block) if block.kind in KINDS else _costs_of_operations(block)


def _costs_of_operations(block: Block) -> tuple[float, ...]:
    """As :func:`_known_costs`, for any kind."""
    convolutions = [op for op in block.operations if isinstance(op, Convolution)]
    depthwise = [op for op in convolutions if op.depthwise]
    pointwise = sum(op.macs for op in convolutions if op.kernel == 1 and op.groups == 1)
    spatial = sum(op.macs for op in depthwise)
    values = math.prod(block.in_shape) + sum(math.prod(op.out_shape) for op in convolutions)
    return (
        1,
        1,
        0,
        0,
        pointwise / 1e6,
        spatial / 1e6,
        sum(op.kernel * math.prod(op.out_shape) for op in depthwise) / 1e6,
        (block.macs - pointwise - spatial) / 1e6,
        0,
        values / 1e6,
        block.params / 1e6,
        0,
        0,
    )


def _known_costs(block: Block) -> tuple[float, ...]:
    """What :data:`LAUNCHES` and :data:`WORK` are of a block of one of :data:`KINDS`."""
    channels, height, width = block.in_shape
    out_channels, out_height, out_width = block.out_shape
    hidden, hswish = block.hidden_channels, block.act == "hswish"
    inside, outside = height * width, out_height * out_width
    inverted = block.kind == "mbconv"
    expanded = hidden * inside if block.expands else 0
    depthwise = hidden * outside
    pointwise = channels * expanded + out_channels * depthwise
    return (
        1,
        inverted,
        block.se,
        hswish,
        pointwise / 1e6,
        block.kernel**2 * depthwise / 1e6,
        block.kernel * depthwise / 1e6,
        0 if inverted else block.macs / 1e6,
        2 * hidden * block.se_channels / 1e6,
        (channels * inside + expanded + depthwise + out_channels * outside) / 1e6,
        block.params / 1e6,
        (hidden * inside if inverted else out_channels * outside) * hswish / 1e6,
        depthwise * block.se / 1e6,
    )


def descriptors(blocks: Sequence[Block]) -> Floats:
    """Where each block lies among others, shape (n, len(DESCRIPTORS))."""
    return np.array([_descriptors(block) for block in blocks], dtype=float).reshape(-1, len(DESCRIPTORS))


def _descriptors(block: Block) -> tuple[float, ...]:
    channels, height, width = block.in_shape
    out_channels, out_height, out_width = block.out_shape
    return (
        math.log(out_height * out_width) / 2,
        math.log(height * width) / 2,
        math.log(block.hidden_channels or 1),
        math.log(channels),
        math.log(out_channels),
        block.kernel / 4,
        block.stride - 1,
        block.se,
        block.act == "hswish",
        block.expands,
        block.shortcut / 2,
        2 * _padding(out_height, 2),
        2 * _padding(height, 2),
        2 * _padding(out_height * out_width, 4),
        *(block.kind == kind for kind in KINDS),
    )


def _padding(size: int, multiple: int) -> float:
    """How much of `size` is added to make it a multiple, as a share."""
    return -(-size // multiple) * multiple / size - 1
