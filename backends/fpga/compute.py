"""Cycles that the arithmetic of a layer takes while nothing keeps it waiting, for many layers at once.

P output pixels, K = kernel^2 x input channels, N output channels, R x C the systolic array.

- Systolic (Samajdar et al., SCALE-Sim, arXiv:1811.02883; equal to its version 3.0.0, unstalled):
  os ``ceil(P/R) ceil(N/C) (K + R + C - 2) - 1``, ws ``ceil(K/R) ceil(N/C) (P + 2R + C - 2) - 1``,
  is ``ceil(K/R) ceil(P/C) (N + 2R + C - 2) - 1``. A depthwise layer runs a channel at a time.
- DPU (Xilinx PG338): ``ceil(H/PP) W ceil(Ci/ICP) ceil(Co/OCP) k^2``; a stem of few channels takes its
  kernel's columns for further input channels, ``ceil(Ci k / ICP) k`` in place of ``ceil(Ci/ICP) k^2``; on the
  ALU (depthwise convolution, pooling, element-wise) ``ceil(H/PP') W ceil(C/CP) k^2``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backends.fpga.layers import KINDS, Layer
from backends.fpga.target import Dpu, FpgaTarget, Systolic

Floats = NDArray[np.float64]
"""Whole numbers mostly, held as floats because NumPy divides those several times faster."""
Bools = NDArray[np.bool_]

Engine = Literal["mac", "alu", "host"]
"""What runs a layer: the MAC array, the ALU beside it, or the host CPU."""

CONV = KINDS.index("conv")
HOST = -1
"""In place of a kind: the step runs on the host CPU."""


@dataclass(frozen=True)
class LayerArrays:
    """Layers as arrays of shape (layers,), one image each.

    Args:
        kind: index into :data:`backends.fpga.layers.KINDS`, or :data:`HOST`.
        channels, height, width: of the input.
        out_channels, out_height, out_width: of the output.
        kernel, stride: of the window.
        passes: times that the ALU goes over the output of a convolution, for its activation.
        added: 1 if a second tensor is added, else 0.
        weights: elements.
    """

    kind: Floats
    channels: Floats
    height: Floats
    width: Floats
    out_channels: Floats
    out_height: Floats
    out_width: Floats
    kernel: Floats
    stride: Floats
    passes: Floats
    added: Floats
    weights: Floats

    @classmethod
    def of(cls, layers: Sequence[Layer], target: FpgaTarget) -> LayerArrays:
        """The arrays of `layers`, each placed where `target` runs it (see :func:`place`)."""
        rows = np.array([_row(layer, target) for layer in layers], dtype=np.float64).reshape(-1, 12)
        return cls(*np.ascontiguousarray(rows.T))

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, part: slice | Bools | NDArray[np.intp]) -> LayerArrays:
        return LayerArrays(*(getattr(self, name)[part] for name in LayerArrays.__dataclass_fields__))

    def by_engine(self) -> Iterator[tuple[Engine, NDArray[np.intp]]]:
        """The engines in use, each with the indices of its layers.

        What runs on one engine obeys one equation: a mixed array would pay for both, and for choosing.
        """
        conv, host = self.kind == CONV, self.kind == HOST
        chosen: tuple[tuple[Engine, Bools], ...] = (("mac", conv), ("alu", ~(conv | host)), ("host", host))
        for engine, mask in chosen:
            index = np.flatnonzero(mask)
            if len(index):
                yield engine, index


def place(layers: Sequence[Layer], target: FpgaTarget) -> tuple[Layer, ...]:
    """`layers` with what `target` cannot fuse split off as layers of its own."""
    return tuple(step for layer in layers for step in _split(layer, target))


def _split(layer: Layer, target: FpgaTarget) -> list[Layer]:
    if layer.act == "swish":
        return _without_swish(layer, target)
    leaves = _hswish_place(target) == "cpu" and layer.act in ("hswish", "hsigmoid")
    fused_act = "none" if leaves or not target.fuse else layer.act
    fused_add = layer.add and target.fuse
    if (fused_act, fused_add) == (layer.act, layer.add) or layer.kind not in ("conv", "depthwise"):
        return [layer]
    steps = [replace(layer, act=fused_act, add=fused_add)]
    if layer.add and not fused_add:
        steps.append(Layer("add", layer.out_shape, layer.out_channels, add=True, name=f"{layer.name}.add"))
    if layer.act != fused_act:
        name = f"{layer.name}.{layer.act}"
        steps.append(Layer("act", layer.out_shape, layer.out_channels, act=layer.act, name=name))
    return steps


def _without_swish(layer: Layer, target: FpgaTarget) -> list[Layer]:
    """x times the hard-sigmoid of x: the DPU's convolutions take h-swish, not swish, and Vitis AI's quantiser puts
    a hard-sigmoid in place of the sigmoid (UG1414). A multiplication of two tensors costs what an addition does."""
    gate = Layer("act", layer.out_shape, layer.out_channels, act="hsigmoid", name=f"{layer.name}.hsigmoid")
    multiply = Layer("add", layer.out_shape, layer.out_channels, add=True, name=f"{layer.name}.mul")
    return [*_split(replace(layer, act="none"), target), gate, multiply]


def _hswish_place(target: FpgaTarget) -> str:
    return target.array.hswish if isinstance(target.array, Dpu) else "alu"


def _runs_on_host(layer: Layer, target: FpgaTarget) -> bool:
    if not isinstance(target.array, Dpu):
        return False
    if layer.kind == "act":
        return target.array.hswish == "cpu" and layer.act in ("hswish", "hsigmoid")
    return target.array.se == "cpu" and layer.name in ("se.pool", "se.scale")


def _row(layer: Layer, target: FpgaTarget) -> tuple[float, ...]:
    kind = HOST if _runs_on_host(layer, target) else KINDS.index(layer.kind)
    needs_pass = layer.act in ("hswish", "hsigmoid") and _hswish_place(target) == "alu"
    passes = float(needs_pass and layer.kind in ("conv", "depthwise"))
    out = layer.out_shape
    return (kind, *layer.in_shape, *out, layer.kernel, layer.stride, passes, layer.add, layer.weights)


# --- cycles ---


def compute_cycles(arrays: LayerArrays, target: FpgaTarget, precision: str) -> Floats:
    """Cycles of arithmetic for each layer, shape (layers,)."""
    cycles = np.empty(len(arrays))
    for engine, index in arrays.by_engine():
        cycles[index] = engine_cycles(arrays[index], target, precision, engine)
    return cycles


def engine_cycles(arrays: LayerArrays, target: FpgaTarget, precision: str, engine: Engine) -> Floats:
    """Cycles of arithmetic for layers that all run on `engine`, shape (layers,); steps on the host cost as much
    time as ``cpu_bytes_per_cycle`` and ``cpu_call_cycles`` say."""
    if engine == "host":
        moved = arrays.channels * arrays.height * arrays.width
        moved += arrays.out_channels * arrays.out_height * arrays.out_width
        moved *= target.element_bytes(precision)
        return target.cpu_call_cycles + moved / target.cpu_bytes_per_cycle
    rate = target.precisions[precision]
    mac_rate, alu_rate = rate * target.efficiency, rate * target.alu_efficiency
    touched = _alu_pass(arrays, target)
    pass_cycles = arrays.passes * touched / alu_rate
    # The ALU takes over what the array has finished, at the same time, so the slower one counts; what it has
    # to do itself anyway (a depthwise convolution) the activation comes on top of.
    if engine == "mac":
        return np.maximum(mac_cycles(arrays, target) / mac_rate, pass_cycles)
    return alu_cycles(arrays, target, touched) / alu_rate + pass_cycles


def mac_cycles(arrays: LayerArrays, target: FpgaTarget) -> Floats:
    """Cycles of convolutions on the MAC array at its full rate, shape (layers,)."""
    if isinstance(target.array, Dpu):
        return _dpu_cycles(arrays, target.array)
    assert isinstance(target.array, Systolic)
    pixels = arrays.out_height * arrays.out_width
    return systolic_cycles(pixels, arrays.kernel**2 * arrays.channels, arrays.out_channels, target.array)


def _dpu_cycles(arrays: LayerArrays, dpu: Dpu) -> Floats:
    reductions = np.ceil(arrays.channels / dpu.inputs) * arrays.kernel * arrays.kernel
    if dpu.stem_augmentation:
        augmented = np.ceil(arrays.channels * arrays.kernel / dpu.inputs) * arrays.kernel
        reductions = np.where(2 * arrays.channels <= dpu.inputs, augmented, reductions)
    rows = np.ceil(arrays.out_height / dpu.pixels) * arrays.out_width
    return rows * reductions * np.ceil(arrays.out_channels / dpu.outputs)


def systolic_cycles(pixels: Floats, reduction: Floats, outputs: Floats, array: Systolic) -> Floats:
    """SCALE-Sim's unstalled cycles of ``pixels x reduction x outputs`` matrix products."""
    rows, columns = array.rows, array.columns
    if array.dataflow == "os":
        folds = np.ceil(pixels / rows) * np.ceil(outputs / columns)
        return folds * (reduction + (rows + columns - 2)) - 1
    if array.dataflow == "ws":
        folds = np.ceil(reduction / rows) * np.ceil(outputs / columns)
        return folds * (pixels + (2 * rows + columns - 2)) - 1
    folds = np.ceil(reduction / rows) * np.ceil(pixels / columns)
    return folds * (outputs + (2 * rows + columns - 2)) - 1


def alu_cycles(arrays: LayerArrays, target: FpgaTarget, touched: Floats) -> Floats:
    """Cycles of depthwise convolutions, pooling and element-wise steps at the full rate, shape (layers,).

    Args:
        arrays: the layers.
        target: of a DPU or a systolic array.
        touched: cycles for touching each output once.
    """
    window = arrays.kernel * arrays.kernel
    if isinstance(target.array, Dpu):
        return touched * window
    assert isinstance(target.array, Systolic)
    pixels = arrays.out_height * arrays.out_width
    channel = systolic_cycles(pixels, window, np.ones(1), target.array) * arrays.out_channels
    return np.where(arrays.kind == KINDS.index("depthwise"), channel, touched * window)


def _alu_pass(arrays: LayerArrays, target: FpgaTarget) -> Floats:
    """Cycles for touching each output once."""
    if isinstance(target.array, Dpu):
        dpu = target.array
        rows = np.ceil(arrays.out_height / dpu.alu_pixels) * arrays.out_width
        return rows * np.ceil(arrays.out_channels / dpu.alu_channels)
    assert isinstance(target.array, Systolic)
    return np.ceil(arrays.out_height * arrays.out_width * arrays.out_channels / target.array.columns)
