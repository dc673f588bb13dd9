"""Cycles of the arithmetic against equations written out again, layer by layer, in plain integers."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from backends.fpga.compute import LayerArrays, compute_cycles, mac_cycles, place
from backends.fpga.layers import Layer, lower
from backends.fpga.target import Dpu, FpgaTarget, Systolic, load_target
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space

FAMILY = get_family("imagenet-w1.0")


def scale_sim_cycles(layer: Layer, rows: int, columns: int, dataflow: str) -> int:
    """SCALE-Sim 3.0.0 without stalls: each fold fills the array, streams, and drains it; the first cycle is
    cycle 0."""
    _, out_height, out_width = layer.out_shape
    pixels, outputs = out_height * out_width, layer.out_channels
    reduction = layer.kernel**2 * layer.in_shape[0]
    folds_along, streamed, fill = {
        "os": ((pixels, outputs), reduction, rows + columns - 2),
        "ws": ((reduction, outputs), pixels, 2 * rows + columns - 2),
        "is": ((reduction, pixels), outputs, 2 * rows + columns - 2),
    }[dataflow]
    folds = ceil(folds_along[0] / rows) * ceil(folds_along[1] / columns)
    return sum(streamed + fill for _ in range(folds)) - 1


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_every_convolution_of_100_random_subnets_takes_scale_sims_cycles(dataflow: str) -> None:
    base = load_target("systolic-16x16")
    target = replace(base, array=Systolic(16, 16, dataflow))
    space, rng = get_space("ofa", FAMILY), np.random.default_rng(0)
    blocks = dict.fromkeys(b for _ in range(100) for b in space.blocks(space.sample(rng)))
    layers = [layer for block in blocks for layer in lower(block) if layer.kind == "conv"]
    assert len(layers) > 1000
    expected = [scale_sim_cycles(layer, 16, 16, dataflow) for layer in layers]
    np.testing.assert_array_equal(mac_cycles(LayerArrays.of(layers, target), target), expected)


# Input side, kernel, input channels, output channels, stride; then the "Total Cycles" of scalesim 3.0.0 without
# stalls on an 8 x 8 array for os, ws and is, as it reported them.
SCALE_SIM_REPORTS = (
    (5, 1, 16, 4, 2, 59, 61, 103),
    (11, 3, 24, 8, 1, 2529, 2780, 8909),
    (2, 1, 24, 40, 1, 189, 389, 185),
    (13, 5, 16, 8, 1, 4553, 5149, 16499),
    (11, 5, 3, 4, 1, 622, 709, 1819),
    (19, 1, 3, 40, 2, 1104, 609, 805),
    (12, 5, 3, 8, 1, 711, 859, 2399),
    (12, 3, 8, 16, 1, 2235, 2195, 4445),
    (9, 1, 24, 16, 2, 303, 281, 455),
    (10, 1, 3, 8, 1, 220, 121, 389),
    (15, 5, 3, 16, 2, 889, 1159, 1899),
    (23, 5, 24, 8, 2, 7981, 9149, 29249),
)


@pytest.mark.parametrize(("dataflow", "column"), [("os", 5), ("ws", 6), ("is", 7)])
def test_the_cycles_are_those_that_scale_sim_itself_reported(dataflow: str, column: int) -> None:
    target = replace(load_target("systolic-16x16"), array=Systolic(8, 8, dataflow))
    layers = [
        Layer("conv", (cin, side, side), cout, kernel, stride, valid=True)
        for side, kernel, cin, cout, stride, *_ in SCALE_SIM_REPORTS
    ]
    expected = [report[column] for report in SCALE_SIM_REPORTS]
    np.testing.assert_array_equal(mac_cycles(LayerArrays.of(layers, target), target), expected)


def dpu_cycles(layer: Layer, dpu: Dpu) -> int:
    """PG338's counts."""
    cin, (cout, height, width) = layer.in_shape[0], layer.out_shape
    if layer.kind == "conv":
        window = layer.kernel**2
        if 2 * cin <= dpu.inputs:
            cin, window = cin * layer.kernel, layer.kernel
        return ceil(height / dpu.pixels) * width * ceil(cin / dpu.inputs) * ceil(cout / dpu.outputs) * window
    return ceil(height / dpu.alu_pixels) * width * ceil(cout / dpu.alu_channels) * layer.kernel**2


def test_a_dpu_takes_the_product_guides_cycles() -> None:
    target = replace(load_target("dpu-b1152"), efficiency=1.0, alu_efficiency=1.0)
    assert isinstance(target.array, Dpu)
    target = replace(target, array=replace(target.array, hswish="array"))
    blocks = get_space("ofa", FAMILY).all_blocks((160,))
    layers = [layer for block in blocks for layer in lower(block)]
    assert isinstance(target.array, Dpu)
    expected = [dpu_cycles(layer, target.array) for layer in layers]
    np.testing.assert_array_equal(compute_cycles(LayerArrays.of(layers, target), target, "int8"), expected)


def test_the_stem_takes_its_kernels_columns_as_channels() -> None:
    stem = Layer("conv", (3, 224, 224), 16, 3, 2)
    target = load_target("dpu-b4096")
    assert isinstance(target.array, Dpu)
    plain = replace(target, array=replace(target.array, stem_augmentation=False))
    with_it, without = (mac_cycles(LayerArrays.of([stem], t), t)[0] for t in (target, plain))
    assert without == 3 * with_it


def seconds_of(layer: Layer, target: FpgaTarget) -> float:
    placed = place([layer], target)
    return float(compute_cycles(LayerArrays.of(placed, target), target, "int8").sum())


def test_hswish_costs_more_the_further_it_runs_from_the_array() -> None:
    layer = Layer("depthwise", (96, 28, 28), 96, 3, act="hswish")
    target = load_target("kv260-b4096")
    assert isinstance(target.array, Dpu)
    cost = [
        seconds_of(layer, replace(target, array=replace(target.array, hswish=where)))
        for where in ("array", "alu", "cpu")
    ]
    assert cost[0] < cost[1] < cost[2]
    assert cost[0] == seconds_of(replace(layer, act="relu"), target)


def test_se_on_the_host_costs_the_call() -> None:
    layer = Layer("pool", (96, 14, 14), 96, 14, valid=True, name="se.pool")
    target = load_target("kv260-b4096")
    assert isinstance(target.array, Dpu)
    host = replace(target, array=replace(target.array, se="cpu"))
    assert seconds_of(layer, host) == pytest.approx(target.cpu_call_cycles + 96 * 14 * 14 + 96)
    assert seconds_of(layer, target) < seconds_of(layer, host)


def test_without_fusion_activations_and_additions_are_steps_of_their_own() -> None:
    layer = Layer("conv", (16, 8, 8), 16, act="relu", add=True)
    target = load_target("kv260-b4096")
    assert place([layer], target) == (layer,)
    kinds = [step.kind for step in place([layer], replace(target, fuse=False))]
    assert kinds == ["conv", "add", "act"]


def test_swish_is_a_hard_sigmoid_and_a_multiplication() -> None:
    layer = Layer("conv", (16, 8, 8), 16, act="swish", name="x")
    for name in ("kv260-b4096", "systolic-16x16"):
        steps = place([layer], load_target(name))
        assert [(s.kind, s.act, s.add) for s in steps] == [
            ("conv", "none", False),
            ("act", "hsigmoid", False),
            ("add", "none", True),
        ]


def test_wider_numbers_run_slower_where_the_target_says_so() -> None:
    target = load_target("systolic-16x16")
    arrays = LayerArrays.of([Layer("conv", (16, 8, 8), 16)], target)
    assert compute_cycles(arrays, target, "int16") == 2 * compute_cycles(arrays, target, "int8")
