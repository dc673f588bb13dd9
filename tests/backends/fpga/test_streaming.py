"""Folding: as cheap as the pace allows; an image takes the slowest stage and all fills."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.fpga.layers import Layer
from backends.fpga.streaming import fold, stream_cycles
from backends.fpga.target import Streaming

ARRAY = Streaming(cycles_per_image=50_000, max_pe=32, max_simd=32)
layers = st.builds(
    lambda kind, cin, cout, side, kernel: Layer(
        kind, (cin, side, side), cout if kind == "conv" else cin, kernel
    ),
    st.sampled_from(["conv", "depthwise"]),
    st.integers(1, 128),
    st.integers(1, 128),
    st.integers(1, 56),
    st.sampled_from([1, 3, 5]),
)


@given(layers)
def test_a_layer_keeps_the_pace_with_the_least_hardware_or_has_the_most(layer: Layer) -> None:
    stage = fold(layer, ARRAY)
    if stage.cycles <= ARRAY.cycles_per_image:
        slower = Streaming(ARRAY.cycles_per_image, max(1, stage.pe // 2), max(1, stage.simd // 2))
        if stage.pe * stage.simd > 1:
            assert fold(layer, slower).cycles > stage.cycles
    else:
        most = Streaming(1, ARRAY.max_pe, ARRAY.max_simd)
        assert stage.cycles == fold(layer, most).cycles


@given(layers)
def test_a_faster_pace_never_slows_a_layer(layer: Layer) -> None:
    twice = Streaming(ARRAY.cycles_per_image // 2, ARRAY.max_pe, ARRAY.max_simd)
    assert fold(layer, twice).cycles <= fold(layer, ARRAY).cycles


def test_a_folded_convolution_takes_finns_cycles() -> None:
    layer = Layer("conv", (16, 10, 10), 32, 3)
    stage = fold(layer, Streaming(100 * 9 * 4 * 8, 32, 32))
    assert stage.pe * stage.simd == 16
    assert stage.cycles == 100 * 9 * (16 // stage.simd) * (32 // stage.pe)


def test_an_image_takes_the_slowest_stage_and_every_fill() -> None:
    chain = [Layer("conv", (3, 32, 32), 16, 3), Layer("depthwise", (16, 32, 32), 16, 3)]
    stages = [fold(layer, ARRAY) for layer in chain]
    expected = max(s.cycles for s in stages) + sum(s.fill_cycles for s in stages)
    assert stream_cycles(chain, ARRAY) == expected < sum(s.cycles for s in stages) + expected
    # Eight images follow one another as soon as the slowest stage is free.
    assert stream_cycles(chain, ARRAY, 8) == expected + 7 * max(s.cycles for s in stages)
    pool = Layer("pool", (16, 32, 32), 16, 32, valid=True)
    assert fold(pool, ARRAY).fill_cycles == fold(pool, ARRAY).cycles
