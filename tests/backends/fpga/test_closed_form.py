"""Whole tables at once: the closed form on real layers, and what more hardware must never do."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.fpga.closed_form import best_plan, bound, layer_cycles, plan_cycles
from backends.fpga.compute import LayerArrays, compute_cycles, place
from backends.fpga.layers import Layer, lower
from backends.fpga.simulator import simulate
from backends.fpga.target import Dpu, FpgaTarget, load_target, target_names
from backends.fpga.tiling import Plan, plan, tiles_of
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space

TILED = [name for name in target_names() if not name.startswith("streaming")]
LAYERS = tuple(
    dict.fromkeys(
        layer
        for block in get_space("ofa", get_family("imagenet-w1.0")).all_blocks((128, 176, 224))
        for layer in lower(block)
    )
)

layers = st.builds(
    lambda kind, cin, cout, side, kernel, stride, act: Layer(
        kind, (cin, side, side), cout if kind == "conv" else cin, kernel, stride, act
    ),
    st.sampled_from(["conv", "depthwise", "scale"]),
    st.integers(1, 48),
    st.integers(1, 300),
    st.integers(1, 56),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from([1, 2]),
    st.sampled_from(["none", "relu", "hswish"]),
)


def arrays_of(found: tuple[Layer, ...], target: FpgaTarget) -> LayerArrays:
    return LayerArrays.of(place(found, target), target)


@pytest.mark.parametrize("name", TILED)
def test_the_closed_form_is_near_the_simulator_and_within_its_bound(name: str) -> None:
    target = load_target(name)
    arrays = arrays_of(LAYERS[::5], target)
    planned = best_plan(arrays, target, "int8")
    quick = plan_cycles(planned, target)
    tiles = [tiles_of(planned, i, target) for i in range(len(arrays))]
    exact = np.array([simulate(one).cycles for one in tiles])
    # Loads and stores are cut to whole cycles: up to one more each.
    rounding = 2 * planned.tiles + 1
    assert (np.abs(quick - exact) <= np.array([bound(one) for one in tiles]) + rounding).all()
    assert np.median(np.abs(quick / exact - 1)) < 0.01


@pytest.mark.parametrize("name", ["zcu102-b4096", "systolic-16x16"])
def test_tiles_add_up_to_the_layer(name: str) -> None:
    target = load_target(name)
    arrays = arrays_of(LAYERS[::7], target)
    planned = best_plan(arrays, target, "int8")
    for i in range(len(arrays)):
        tiles = tiles_of(planned, i, target)
        assert len(tiles.load) == planned.tiles[i]
        assert sum(tiles.compute) == round(planned.compute_cycles[i])
        moved = target.memory.rate * sum(max(0, c - target.memory.latency_cycles) for c in tiles.load)
        assert planned.load_bytes[i] <= moved + 1e-6
        at_least = arrays.channels[i] * arrays.height[i] * arrays.width[i] + arrays.weights[i]
        assert planned.load_bytes[i] >= at_least * (arrays.kernel[i] >= arrays.stride[i])


@settings(max_examples=60)
@given(st.lists(layers, min_size=1, max_size=20), st.sampled_from(TILED))
def test_doubling_bandwidth_never_slows_a_layer(found: list[Layer], name: str) -> None:
    target = load_target(name)
    faster = replace(target, memory=replace(target.memory, bytes_per_cycle=2 * target.memory.bytes_per_cycle))
    arrays = arrays_of(tuple(found), target)
    before, after = (layer_cycles(arrays, t, "int8") for t in (target, faster))
    assert (after <= before).all()


@settings(max_examples=60)
@given(st.lists(layers, min_size=1, max_size=20), st.sampled_from(["pixels", "inputs", "outputs"]))
def test_doubling_a_dpu_never_slows_its_arithmetic(found: list[Layer], side: str) -> None:
    target = load_target("dpu-b1152")
    assert isinstance(target.array, Dpu)
    # Stem augmentation is a choice by size, so it is compared separately.
    array = replace(target.array, stem_augmentation=False)
    target = replace(target, array=array)
    faster = replace(target, array=replace(array, **{side: 2 * getattr(array, side)}))
    arrays = arrays_of(tuple(found), target)
    before, after = (compute_cycles(arrays, t, "int8") for t in (target, faster))
    assert (after <= before).all()


def test_doubling_the_clock_never_slows_a_layer_even_with_the_same_ddr() -> None:
    target = load_target("kv260-b4096")
    memory = replace(target.memory, bytes_per_cycle=target.memory.bytes_per_cycle / 2)
    faster = replace(target, clock_mhz=2 * target.clock_mhz, memory=memory)
    arrays = arrays_of(LAYERS, target)
    before = target.milliseconds(1) * layer_cycles(arrays, target, "int8")
    after = faster.milliseconds(1) * layer_cycles(arrays, faster, "int8")
    assert (after <= before * (1 + 1e-12)).all()


def doubled(target: FpgaTarget, sides: tuple[str, ...]) -> FpgaTarget:
    return replace(target, array=replace(target.array, **{s: 2 * getattr(target.array, s) for s in sides}))


DPUS = [name for name in TILED if isinstance(load_target(name).array, Dpu)]
ROWS, CHANNELS = ("pixels", "alu_pixels"), ("outputs", "alu_channels")
SIDES = [*((side,) for side in (*ROWS, "inputs", *CHANNELS)), ROWS, CHANNELS, (*ROWS, "inputs", *CHANNELS)]


@pytest.mark.parametrize("name", DPUS)
def test_doubling_a_dpu_never_slows_a_layer_of_ours_nor_so_a_block(name: str) -> None:
    target = load_target(name)
    arrays = arrays_of(LAYERS, target)
    before = layer_cycles(arrays, target, "int8")
    for sides in SIDES:
        after = layer_cycles(arrays, doubled(target, sides), "int8")
        assert (after <= before).all(), sides
    assert (after < before).mean() > 0.9  # all of it doubled


@settings(max_examples=60)
@given(st.lists(layers, min_size=1, max_size=20), st.sampled_from(DPUS), st.sampled_from(SIDES))
def test_doubling_a_dpu_never_slows_a_layer(found: list[Layer], name: str, sides: tuple[str, ...]) -> None:
    target = load_target(name)
    arrays = arrays_of(tuple(found), target)
    before, after = (layer_cycles(arrays, t, "int8") for t in (target, doubled(target, sides)))
    assert (after <= before * (1 + 1e-12)).all()


def test_a_part_of_the_array_is_used_only_where_it_ends_sooner() -> None:
    target = load_target("zcu102-b4096")
    arrays = arrays_of(LAYERS, target)
    best, whole = best_plan(arrays, target, "int8"), Plan.empty(len(arrays))
    for engine, index in arrays.by_engine():
        whole.put(index, plan(arrays[index], target, "int8", engine))
    gain = plan_cycles(whole, target) - plan_cycles(best, target)
    assert (gain >= 0).all()
    assert 0 < (gain > 0).mean() < 0.05
    parted = best.compute_cycles > whole.compute_cycles
    assert (gain[parted] > 0).all() and parted.any()


@settings(max_examples=60)
@given(st.lists(layers, min_size=1, max_size=20), st.sampled_from(DPUS))
def test_no_part_of_the_array_that_was_not_planned_ends_sooner(found: list[Layer], name: str) -> None:
    target = load_target(name)
    array = target.array
    assert isinstance(array, Dpu)
    arrays = arrays_of(tuple(found), target)
    best = plan_cycles(best_plan(arrays, target, "int8"), target)
    for (rows, alu_rows), (outputs, lanes) in product(
        halves(array.pixels, 4, array.alu_pixels, 2), halves(array.outputs, 8, array.alu_channels, 8)
    ):
        part = replace(array, pixels=rows, outputs=outputs, alu_pixels=alu_rows, alu_channels=lanes)
        for engine, index in arrays.by_engine():
            planned = plan(arrays[index], replace(target, array=part), "int8", engine)
            assert (best[index] <= plan_cycles(planned, target)).all()


def halves(mac: int, least_mac: int, alu: int, least_alu: int) -> list[tuple[int, int]]:
    """A side of the MAC array and of the ALU, whole and halved once where that is allowed."""
    half = (
        (mac // 2 if mac % 2 == 0 and mac // 2 >= least_mac else mac),
        (alu // 2 if alu % 2 == 0 and alu // 2 >= least_alu else alu),
    )
    return [(mac, alu), half]


def test_the_least_size_of_a_buffer_is_that_of_the_least_part() -> None:
    target = load_target("dpu-b4096")
    small = replace(target, memory=replace(target.memory, input_bytes=64))
    layer = Layer("conv", (64, 14, 14), 64, 3)
    with pytest.raises(
        ValueError, match=f"at least {2 * (4 - 1 + 3) * 14 * 64} bytes"
    ):  # 4 rows and their halo
        layer_cycles(arrays_of((layer,), small), small, "int8")


@pytest.mark.parametrize("field", ["input_bytes", "weight_bytes", "output_bytes"])
def test_a_buffer_too_small_names_the_layer_and_the_least_size(field: str) -> None:
    target = load_target("dpu-b512")
    small = replace(target, memory=replace(target.memory, **{field: 64}))
    layer = Layer("conv", (64, 14, 14), 64, 3)
    with pytest.raises(ValueError, match=rf"{field} = 64 is too small .*conv layer 64x14x14-64-k3") as error:
        layer_cycles(arrays_of((layer,), small), small, "int8")
    least = int(str(error.value).split("at least ")[1].split()[0])
    enough = replace(target, memory=replace(target.memory, **{field: least}))
    assert layer_cycles(arrays_of((layer,), enough), enough, "int8") > 0
    one_less = replace(target, memory=replace(target.memory, **{field: least - 2}))
    with pytest.raises(ValueError, match="too small"):
        layer_cycles(arrays_of((layer,), one_less), one_less, "int8")
