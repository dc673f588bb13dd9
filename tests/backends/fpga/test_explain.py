"""Where the cycles go adds up, and nothing is above its roof."""

from __future__ import annotations

import pytest

from backends.fpga.explain import explain, peak_gops
from backends.fpga.layers import lower
from backends.fpga.target import load_target
from compofa.network import arch_blocks
from compofa.spaces.arch import extreme
from compofa.spaces.registry import get_family

FAMILY = get_family("imagenet-w1.0")
LAYERS = [
    layer
    for block in arch_blocks(FAMILY, extreme(FAMILY, largest=True, resolution=160))
    for layer in lower(block)
]


@pytest.mark.parametrize("name", ["zcu102-b4096", "systolic-32x32"])
def test_parts_add_up_and_no_layer_is_above_its_roof(name: str) -> None:
    target = load_target(name)
    roof, bandwidth = peak_gops(target, "int8"), target.memory.rate * target.clock_mhz / 1e3
    for cost in explain(LAYERS, target, "int8"):
        parts = (cost.compute_cycles, cost.memory_cycles, cost.overhead_cycles)
        assert sum(parts) == cost.cycles and min(parts) >= 0
        gops = 2e-6 * cost.layer.macs / target.milliseconds(cost.cycles)
        assert gops <= min(roof, bandwidth * cost.intensity) * 1.0001 or cost.layer.macs == 0


def test_a_b4096_peaks_at_its_name() -> None:
    assert peak_gops(load_target("kv260-b4096"), "int8") == pytest.approx(4096 * 0.3)


def test_a_pipeline_has_no_tiles() -> None:
    with pytest.raises(ValueError, match="streaming-100k is a pipeline"):
        explain(LAYERS, load_target("streaming-100k"), "int8")
