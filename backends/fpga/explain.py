"""Where a layer's modelled cycles go: arithmetic, waiting for DDR, overhead; and how far it is from its roof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backends.fpga.closed_form import best_plan
from backends.fpga.compute import LayerArrays, place
from backends.fpga.layers import Layer
from backends.fpga.simulator import Timeline, simulate
from backends.fpga.target import Dpu, FpgaTarget, Streaming, Systolic
from backends.fpga.tiling import tiles_of
from compofa.errors import InputError


@dataclass(frozen=True)
class LayerCost:
    """A layer simulated on one core.

    Args:
        layer: as the target runs it.
        timeline: of its tiles.
        overhead_cycles: of starting it.
        moved_bytes: over the DDR port.
    """

    layer: Layer
    timeline: Timeline
    overhead_cycles: int
    moved_bytes: float

    @property
    def compute_cycles(self) -> int:
        """Cycles in which the array works."""
        return sum(end - begin for begin, end in self.timeline.compute)

    @property
    def memory_cycles(self) -> int:
        """Cycles in which the array waits for DDR: what loading and storing could not be hidden."""
        return self.timeline.cycles - self.compute_cycles

    @property
    def cycles(self) -> int:
        """All of them."""
        return self.timeline.cycles + self.overhead_cycles

    @property
    def intensity(self) -> float:
        """Operations (two for each multiply-accumulate) a byte; 0 for what only moves and adds."""
        return 2 * self.layer.macs / self.moved_bytes if self.moved_bytes else 0.0


def explain(layers: Sequence[Layer], target: FpgaTarget, precision: str) -> list[LayerCost]:
    """Simulate `layers`, which run one after the other.

    Raises:
        ValueError: a streaming target, whose layers all run at once; a buffer too small; a precision that the
            array lacks.
    """
    if isinstance(target.array, Streaming):
        raise InputError(f"target {target.name} is a pipeline: its layers have no tiles to trace")
    placed = place(layers, target)
    arrays = LayerArrays.of(placed, target)
    planned = best_plan(arrays, target, precision)
    moved = planned.load_bytes + planned.store_bytes
    return [
        LayerCost(layer, simulate(tiles_of(planned, i, target)), target.layer_cycles, float(moved[i]))
        for i, layer in enumerate(placed)
    ]


def peak_gops(target: FpgaTarget, precision: str) -> float:
    """Billions of operations a second of one core's MAC array at its peak."""
    array = target.array
    if isinstance(array, Dpu):
        macs = array.pixels * array.inputs * array.outputs
    else:
        assert isinstance(array, Systolic)
        macs = array.rows * array.columns
    return 2 * macs * target.precisions[precision] * target.clock_mhz / 1e3
