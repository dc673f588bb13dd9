"""A streaming accelerator: every layer has hardware of its own, all work at once on one stream of pixels.

Each layer is folded: it takes `simd` input channels and `pe` output channels at a time, and so needs
``pixels x k^2 x ceil(Ci / simd) x ceil(Co / pe)`` cycles for an image (Umuroglu et al., FINN, FPGA 2017,
arXiv:1612.07119). The folding is the cheapest that keeps the target's pace. A layer starts to give results
when its first window is filled; a global pooling when its input has ended. So an image takes the slowest
layer's cycles plus every layer's fill: not a sum over layers, and a lookup table overestimates it. Weights
stay on the chip.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backends.fpga.layers import Layer
from backends.fpga.target import Streaming


@dataclass(frozen=True)
class Stage:
    """A layer as hardware.

    Args:
        pe, simd: output and input channels at a time.
        cycles: for one image.
        fill_cycles: from the first pixel in to the first one out.
    """

    pe: int
    simd: int
    cycles: int
    fill_cycles: int


def fold(layer: Layer, array: Streaming) -> Stage:
    """The cheapest hardware (least `pe` x `simd`) that keeps the pace; the fastest there is if none does."""
    options = [_stage(layer, pe, simd) for pe, simd in _foldings(layer, array)]
    fast = [stage for stage in options if stage.cycles <= array.cycles_per_image]
    if fast:
        return min(fast, key=lambda stage: (stage.pe * stage.simd, stage.cycles))
    return min(options, key=lambda stage: (stage.cycles, stage.pe * stage.simd))


def _foldings(layer: Layer, array: Streaming) -> list[tuple[int, int]]:
    reduced = layer.in_shape[0] if layer.kind == "conv" else 1
    pes = _powers(min(array.max_pe, layer.out_channels))
    return [(pe, simd) for pe in pes for simd in _powers(min(array.max_simd, reduced))]


def _powers(most: int) -> Iterable[int]:
    return (2**i for i in range(most.bit_length()))


def _stage(layer: Layer, pe: int, simd: int) -> Stage:
    channels, height, width = layer.in_shape
    _, out_height, out_width = layer.out_shape
    reduced = math.ceil(channels / simd) if layer.kind == "conv" else 1
    outputs = math.ceil(layer.out_channels / pe)
    cycles = out_height * out_width * layer.kernel**2 * reduced * outputs
    if layer.valid and layer.kernel == height:
        return Stage(pe, simd, cycles, cycles)
    pixels = layer.kernel // 2 * (width + 1) + 1
    return Stage(pe, simd, cycles, math.ceil(cycles * pixels / (height * width)))


def stream_cycles(layers: Sequence[Layer], array: Streaming, images: int = 1) -> int:
    """Cycles from the first pixel of `images` into `layers` to the last one out: each image follows the one before it
    as soon as the slowest layer is done with that."""
    stages = [fold(layer, array) for layer in layers]
    return images * max(stage.cycles for stage in stages) + sum(stage.fill_cycles for stage in stages)
