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

import numpy as np

from backends.fpga.compute import Floats, LayerArrays
from backends.fpga.target import FpgaTarget
from backends.fpga.tiling import Plan, Tiles, plan

CHUNK = 4096
"""Layers at a time: their arrays then stay in the second-level cache."""


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


def layer_cycles(arrays: LayerArrays, target: FpgaTarget, precision: str) -> Floats:
    """Cycles of each layer on one core, for one image, shape (layers,).

    Raises:
        ValueError: a buffer is too small for some layer, or the array lacks the precision.
    """
    cycles = np.empty(len(arrays))
    for start in range(0, len(arrays), CHUNK):
        part = arrays[start : start + CHUNK]
        cycles[start : start + CHUNK] = plan_cycles(plan(part, target, precision), target)
    return cycles + target.layer_cycles


def bound(tiles: Tiles) -> float:
    """The most by which the closed form can differ from the simulation of `tiles`, in cycles: the sum of what
    the tiles' loads, computations and stores differ from their means (the first load is its own)."""
    parts = (np.array(tiles.load[1:]), np.array(tiles.compute), np.array(tiles.store))
    return float(sum(np.abs(part - part.mean()).sum() for part in parts if len(part)))
