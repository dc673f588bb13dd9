"""The tile simulator: what must hold for any tiles, and its closed form."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backends.fpga.closed_form import bound, pipeline_cycles
from backends.fpga.simulator import simulate, write_trace
from backends.fpga.tiling import Tiles

cycles = st.integers(0, 60)
positive = st.integers(1, 60)


@st.composite
def any_tiles(draw: st.DrawFn) -> Tiles:
    count = draw(st.integers(1, 8))
    lists = [draw(st.lists(cycles, min_size=count, max_size=count)) for _ in range(3)]
    return Tiles(*lists)


def closed(count: int, first: int, load: float, compute: float, store: float) -> float:
    numbers = (np.array([float(n)]) for n in (count, first, load, compute, store))
    return float(pipeline_cycles(*numbers)[0])


@given(st.integers(1, 12), cycles, cycles, cycles, cycles)
def test_equal_tiles_take_exactly_the_closed_form(
    count: int, first: int, load: int, compute: int, store: int
) -> None:
    tiles = Tiles([first] + [load] * (count - 1), [compute] * count, [store] * count)
    assert simulate(tiles).cycles == closed(count, first, load, compute, store)


@given(any_tiles())
def test_unequal_tiles_stay_within_the_stated_bound(tiles: Tiles) -> None:
    count = len(tiles.load)
    load = float(np.mean(tiles.load[1:])) if count > 1 else 0.0
    expected = closed(count, tiles.load[0], load, float(np.mean(tiles.compute)), float(np.mean(tiles.store)))
    assert abs(simulate(tiles).cycles - expected) <= bound(tiles) + 1e-9


@given(any_tiles(), st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_nothing_overlaps_that_shares_a_resource(tiles: Tiles, skew: int, drain: int, separate: bool) -> None:
    found = simulate(tiles, skew=skew, drain=drain, separate_stores=separate)
    port = found.load + ([] if separate else found.store)
    for spans in (sorted(span for span in port if span[1] > span[0]), found.compute):
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    for i, (load, compute, store) in enumerate(zip(found.load, found.compute, found.store, strict=True)):
        assert load[1] <= compute[0] and compute[1] + skew + drain <= store[0]
        assert i < 2 or found.compute[i - 2][1] <= load[0]
        assert i < 2 or found.store[i - 2][1] <= compute[1]
    assert found.cycles >= sum(tiles.compute)
    assert found.cycles >= sum(tiles.load) + (0 if separate else sum(tiles.store))


@given(any_tiles(), st.integers(0, 7), st.sampled_from(["load", "compute", "store"]), positive)
def test_nothing_ends_earlier_because_something_takes_longer(
    tiles: Tiles, where: int, what: str, more: int
) -> None:
    before = simulate(tiles).cycles
    getattr(tiles, what)[where % len(tiles.load)] += more
    assert before <= simulate(tiles).cycles <= before + more


def test_the_trace_is_what_chrome_reads(tmp_path: Path) -> None:
    timeline = simulate(Tiles([10, 5], [7, 7], [2, 2]))
    write_trace(tmp_path / "t.json", [("conv", timeline), ("next", timeline)], clock_mhz=100.0)
    content = json.loads((tmp_path / "t.json").read_text())
    events = [event for event in content["traceEvents"] if event["ph"] == "X"]
    assert len(events) == 12
    assert max(event["ts"] + event["dur"] for event in events) == 2 * timeline.cycles / 100
    assert content["otherData"] == {"origin": "modelled"}
    names = [event["args"]["name"] for event in content["traceEvents"] if event["ph"] == "M"]
    assert all("modelled" in name for name in names)
