"""What the model runs on: an array of arithmetic, buffers, a port to DDR, a clock.

A target is a TOML file in :mod:`backends.fpga.targets` or anywhere else, read into frozen, checked
dataclasses. Standard library only.

Sources. DPU parallelism: Xilinx PG338, DPUCZDX8G product guide, tables of the architectures B512 to B4096.
Systolic arrays: Samajdar et al., SCALE-Sim, arXiv:1811.02883. Streaming: Umuroglu et al., FINN, FPGA 2017,
arXiv:1612.07119.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from backends import description
from backends.description import parse_table
from compofa.errors import InputError

TARGETS = "backends.fpga.targets"
DATAFLOWS = ("os", "ws", "is")
PLACES = ("array", "alu", "cpu")
MOST_CYCLES = 10**12
"""Of a single cost: an hour at 300 MHz; more is a slip."""


def _check_positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if not math.isfinite(value) or value <= 0:
            raise InputError(f"{name} must be above 0, not {value:g}")


@dataclass(frozen=True)
class Dpu:
    """A DPU: `pixels` output rows x `inputs` x `outputs` channels of multipliers, and an ALU beside them.

    Args:
        pixels, inputs, outputs: PP, ICP, OCP of PG338; ``2 * pixels * inputs * outputs`` operations a cycle.
        alu_pixels, alu_channels: elements a cycle of the ALU, for depthwise convolutions, pooling and
            element-wise steps; PG338 recommends half of PP, and CP equals ICP.
        stem_augmentation: a stem of few channels takes the kernel's columns as further input channels.
        hswish: where h-swish and hard-sigmoid run: ``array`` (in the write-back path, free), ``alu`` (one
            more pass) or ``cpu`` (the tensor leaves the accelerator).
        se: where the pooling and the scaling of SE run: ``alu`` or ``cpu``.
    """

    pixels: int
    inputs: int
    outputs: int
    alu_pixels: int
    alu_channels: int
    stem_augmentation: bool = True
    hswish: str = "alu"
    se: str = "alu"

    def __post_init__(self) -> None:
        _check_positive(self, "pixels", "inputs", "outputs", "alu_pixels", "alu_channels")
        if self.hswish not in PLACES or self.se not in PLACES[1:]:
            raise InputError(f"hswish is one of {', '.join(PLACES)} and se alu or cpu: {self}")


@dataclass(frozen=True)
class Systolic:
    """A systolic array of `rows` x `columns` multiply-accumulators.

    Args:
        rows, columns: of the array; element-wise steps run on a vector unit of `columns` lanes.
        dataflow: what stays in place: ``os`` outputs, ``ws`` weights, ``is`` inputs.
    """

    rows: int
    columns: int
    dataflow: str = "os"

    def __post_init__(self) -> None:
        _check_positive(self, "rows", "columns")
        if self.dataflow not in DATAFLOWS:
            raise InputError(f"unknown dataflow {self.dataflow!r}; there are {', '.join(DATAFLOWS)}")


@dataclass(frozen=True)
class Streaming:
    """A pipeline with hardware of its own for each layer, folded in time.

    Args:
        cycles_per_image: each layer is folded as far as it still keeps this pace.
        max_pe, max_simd: most output and input channels that one layer takes at a time.
    """

    cycles_per_image: int
    max_pe: int
    max_simd: int

    def __post_init__(self) -> None:
        _check_positive(self, "cycles_per_image", "max_pe", "max_simd")


ARRAYS = {"dpu": Dpu, "systolic": Systolic, "streaming": Streaming}


@dataclass(frozen=True)
class Memory:
    """Buffers on the chip and the port to DDR that loads and stores share.

    Args:
        input_bytes, weight_bytes, output_bytes: each buffer, both halves of its ping-pong together.
        bytes_per_cycle: peak of the port of one core, per cycle of the array's clock.
        burst_efficiency: share of the peak that long bursts reach, above 0, at most 1.
        latency_cycles: from asking for a tile to its first byte.
    """

    input_bytes: int
    weight_bytes: int
    output_bytes: int
    bytes_per_cycle: float
    burst_efficiency: float = 1.0
    latency_cycles: int = 0

    def __post_init__(self) -> None:
        _check_positive(
            self, "input_bytes", "weight_bytes", "output_bytes", "bytes_per_cycle", "burst_efficiency"
        )
        if self.burst_efficiency > 1:
            raise InputError(f"burst_efficiency is at most 1, not {self.burst_efficiency:g}")
        if not 0 <= self.latency_cycles <= MOST_CYCLES:
            raise InputError(f"latency_cycles must not be negative, nor above {MOST_CYCLES:g}")

    @property
    def rate(self) -> float:
        """Bytes a cycle that long bursts reach."""
        return self.bytes_per_cycle * self.burst_efficiency


@dataclass(frozen=True)
class FpgaTarget:
    """An accelerator on a board.

    Args:
        name: as given to ``--target``.
        device: for people: board, chip, configuration.
        family: ``dpu``, ``systolic`` or ``streaming``.
        array: its parameters.
        memory: buffers and DDR.
        clock_mhz: of the array.
        cores: accelerators on the board; one image runs on one of them.
        efficiency: share of its peak that the MAC array reaches while it computes, above 0, at most 1.
        alu_efficiency: likewise for the ALU.
        layer_cycles: instructions and synchronisation of each layer.
        call_cycles: of running a network at all: the runtime, the operating system, the interrupt.
        fuse: an activation or an addition that follows a convolution runs in its write-back.
        cpu_bytes_per_cycle: of the host CPU, for steps that the accelerator leaves to it.
        cpu_call_cycles: of handing a tensor to the host CPU and back.
        precisions: number format -> operations a cycle relative to the array's own.
    """

    name: str
    device: str
    family: str
    array: Dpu | Systolic | Streaming
    memory: Memory
    clock_mhz: float
    precisions: dict[str, float]
    cores: int = 1
    efficiency: float = 1.0
    alu_efficiency: float = 1.0
    layer_cycles: int = 0
    call_cycles: int = 0
    fuse: bool = True
    cpu_bytes_per_cycle: float = 1.0
    cpu_call_cycles: int = 0

    def __post_init__(self) -> None:
        _check_positive(self, "clock_mhz", "cores", "efficiency", "alu_efficiency", "cpu_bytes_per_cycle")
        if self.efficiency > 1 or self.alu_efficiency > 1:
            raise InputError("efficiency and alu_efficiency are at most 1")
        if min(self.layer_cycles, self.call_cycles, self.cpu_call_cycles) < 0:
            raise InputError("layer_cycles, call_cycles and cpu_call_cycles must not be negative")
        if max(self.layer_cycles, self.call_cycles, self.cpu_call_cycles) > MOST_CYCLES:
            raise InputError(f"layer_cycles, call_cycles and cpu_call_cycles are at most {MOST_CYCLES:g}")
        for precision, rate in self.precisions.items():
            if not _bits(precision) or not rate > 0:
                raise InputError(f"precisions are such as int8 = 1.0, not {precision} = {rate}")
        if self.family == "streaming":
            self._check_streaming()

    def _check_streaming(self) -> None:
        """What a pipeline has no such thing as would tell equal targets apart, and do nothing."""
        idle = (
            "efficiency",
            "alu_efficiency",
            "layer_cycles",
            "fuse",
            "cpu_bytes_per_cycle",
            "cpu_call_cycles",
        )
        defaults = {field.name: field.default for field in fields(self)}
        if given := [name for name in idle if getattr(self, name) != defaults[name]]:
            raise InputError(f"a streaming target has no {given[0]}: leave it out")
        if rates := {name: rate for name, rate in self.precisions.items() if rate != 1}:
            raise InputError(f"a streaming target takes as long in any precision: give 1.0, not {rates}")

    def element_bytes(self, precision: str) -> float:
        """Bytes of one weight or activation.

        Raises:
            ValueError: the array does not compute in `precision`.
        """
        if precision not in self.precisions:
            raise InputError(
                f"target {self.name} cannot compute in {precision}; it has {', '.join(self.precisions)}"
            )
        return _bits(precision) / 8

    @property
    def digest(self) -> str:
        """Short hash of everything that decides a latency."""
        return description.digest(self)

    def milliseconds(self, cycles: float) -> float:
        """Modelled time of `cycles`."""
        return cycles / (self.clock_mhz * 1e3)


def _bits(precision: str) -> int:
    digits = precision.removeprefix("int")
    return int(digits) if precision.startswith("int") and digits in ("4", "8", "16") else 0


# --- reading ---


def target_names() -> tuple[str, ...]:
    """The targets that come with the package."""
    return description.target_names(TARGETS)


def load_target(name: str) -> FpgaTarget:
    """The target called `name`, or described in the TOML file at that path.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no such target, or its description is wrong; says what and where.
    """
    return description.load_target(TARGETS, name, parse_target)


def parse_target(name: str, content: dict[str, Any]) -> FpgaTarget:
    """The target that a TOML file's `content` describes.

    Raises:
        ValueError: a field is missing, unknown, of the wrong type or out of range.
    """
    family = content.get("family")
    if family not in ARRAYS:
        raise InputError(f"family must be one of {', '.join(ARRAYS)}, not {family!r}")
    given = {
        **content,
        "name": name,
        "array": parse_table(ARRAYS[family], "array", content.get("array")),
        "memory": parse_table(Memory, "memory", content.get("memory")),
    }
    return parse_table(FpgaTarget, "", given)
