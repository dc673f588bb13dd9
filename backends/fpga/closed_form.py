"""Cycles of many layers at once, without simulating their tiles.

With equal tiles, L, T, S cycles to load, compute and store one, and n of them, the simulator of
:mod:`backends.fpga.simulator` ends after

    n = 1:   L + T + S
    n > 1:   max( max(L, T) + (n - 1) (L + S) + max(S, T),    the port never rests
                  L + n T + S )                               the array never rests

exactly; a first load that takes longer by d cycles delays everything by d. Where tiles differ, L, T and S are
their means. A timeline is a longest path through an order of events that does not change, so it moves by no
more than the sum of what its events differ from those means (:func:`bound`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from backends.fpga.compute import Engine, Floats, LayerArrays, engine_cycles
from backends.fpga.target import Dpu, FpgaTarget
from backends.fpga.tiling import Plan, Tiles, check, cut_layers, plan

CHUNK = 12288
"""Layers at a time: enough that calling NumPy costs little, few enough for the caches, and for arrays below the
128 KiB from which glibc's malloc asks the system for pages each time."""


def pipeline_cycles(tiles: Floats, first: Floats, load: Floats, compute: Floats, store: Floats) -> Floats:
    """Cycles of `tiles` equal tiles, all arrays of shape (layers,).

    Args:
        tiles: how many.
        first: cycles of the first load.
        load, compute, store: cycles of every other load, of each computation and each store.
    """
    port = np.maximum(load, compute) + (tiles - 1) * (load + store) + np.maximum(store, compute)
    array = load + tiles * compute + store
    many = np.maximum(port, array) + (first - load)
    return np.where(tiles > 1, many, first + compute + store)


def plan_cycles(plan: Plan, target: FpgaTarget) -> Floats:
    """Cycles of each planned layer, ``layer_cycles`` left out, shape (layers,)."""
    tiles = plan.tiles
    others = np.maximum(tiles - 1, 1)
    latency, rate = target.memory.latency_cycles, target.memory.rate
    first = plan.first_bytes + np.where(tiles > 1, 0, plan.load_bytes - plan.first_bytes)
    rest = plan.load_bytes - first
    return pipeline_cycles(
        tiles,
        first / rate + latency * (first > 0),
        rest / (others * rate) + latency * (rest > 0),
        plan.compute_cycles / tiles,
        plan.store_bytes / (tiles * rate) + latency * (plan.store_bytes > 0),
    )


LEAST_ROWS, LEAST_CHANNELS, LEAST_ALU_ROWS = 4, 8, 2
"""Parts of a DPU that are not halved any further."""


def best_plan(arrays: LayerArrays, target: FpgaTarget, precision: str) -> Plan:
    """The tiling of each layer that ends soonest, among those for the whole array and, on a DPU, for parts of it.

    A larger array cuts layers into larger tiles, of which less may overlap. As it may do what one of half its size
    does, it is never slower than that.

    Raises:
        ValueError: a buffer is too small for some layer, or the array lacks the precision.
    """
    found = Plan.empty(len(arrays))
    for engine, index in arrays.by_engine():
        found.put(index, _best(arrays[index], target, _parts(target, engine), precision, engine)[0])
    return found


def _best(
    arrays: LayerArrays, target: FpgaTarget, parts: list[FpgaTarget], precision: str, engine: Engine
) -> tuple[Plan, Floats]:
    """The best tilings of layers that all run on `engine`, for all of it or one of `parts`, and their cycles."""
    best = plan(arrays, target, precision, engine)
    cycles = np.where(best.fits, plan_cycles(best, target), np.inf)
    part = target
    for part in parts:
        index = _worth_planning(arrays, part, precision, engine, best, cycles)
        if not len(index):
            continue
        other = plan(arrays[index], part, precision, engine)
        ends = np.where(other.fits, plan_cycles(other, target), np.inf)
        sooner = np.flatnonzero(ends < cycles[index])
        index = index[sooner]
        cycles[index] = ends[sooner]
        best.put(index, other[sooner])
    if not best.fits.all():
        check(arrays[~best.fits], part, precision, engine)
    return best, cycles


def _worth_planning(
    arrays: LayerArrays, part: FpgaTarget, precision: str, engine: Engine, best: Plan, cycles: Floats
) -> NDArray[np.intp]:
    """The layers that might end sooner on `part` than by their `best` tiling so far, which takes `cycles`.

    No tiling ends before its arithmetic does; and what is cut as before moves the same bytes, so it ends no sooner if
    its arithmetic does not. Nearly all layers are one or the other, and the rest of their tiling need not be known.
    """
    compute = engine_cycles(arrays, part, precision, engine)
    index = np.flatnonzero(compute < cycles)
    cut = cut_layers(arrays[index], part, precision, engine)
    alike = (cut.row_tiles == best.row_tiles[index]) & (cut.channel_tiles == best.channel_tiles[index])
    alike &= (compute >= best.compute_cycles)[index] & best.fits[index]
    return index[np.flatnonzero(~alike)]


def _parts(target: FpgaTarget, engine: Engine) -> list[FpgaTarget]:
    """`target` with part of its MAC array or of its ALU, the least last."""
    array = target.array
    if not isinstance(array, Dpu) or engine == "host":
        return []
    if engine == "mac":
        sizes = product(_halves(array.pixels, LEAST_ROWS), _halves(array.outputs, LEAST_CHANNELS))
        parts = [replace(array, pixels=rows, outputs=channels) for rows, channels in sizes]
    else:
        sizes = product(
            _halves(array.alu_pixels, LEAST_ALU_ROWS), _halves(array.alu_channels, LEAST_CHANNELS)
        )
        parts = [replace(array, alu_pixels=rows, alu_channels=channels) for rows, channels in sizes]
    return [replace(target, array=part) for part in parts[1:]]


def _halves(size: int, least: int) -> list[int]:
    """`size`, its half, and so on, while they are whole and not below `least`."""
    found = [size]
    while found[-1] % 2 == 0 and found[-1] // 2 >= least:
        found.append(found[-1] // 2)
    return found


def layer_cycles(arrays: LayerArrays, target: FpgaTarget, precision: str) -> Floats:
    """Cycles of each layer on one core, for one image, shape (layers,).

    Raises:
        ValueError: a buffer is too small for some layer, or the array lacks the precision.
    """
    cycles = np.empty(len(arrays))
    for engine, index in arrays.by_engine():
        parts = _parts(target, engine)
        for start in range(0, len(index), CHUNK):
            part = index[start : start + CHUNK]
            cycles[part] = _best(arrays[part], target, parts, precision, engine)[1]
    return cycles + target.layer_cycles


def bound(tiles: Tiles) -> float:
    """The most by which the closed form can differ from the simulation of `tiles`, in cycles: the sum of what
    the tiles' loads, computations and stores differ from their means (the first load is its own)."""
    parts = (np.array(tiles.load[1:]), np.array(tiles.compute), np.array(tiles.store))
    return float(sum(np.abs(part - part.mean()).sum() for part in parts if len(part)))
