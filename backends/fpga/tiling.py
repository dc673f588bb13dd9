"""How layers are cut into tiles that fit the buffers, and what each tile moves.

A tile is some rows of the output by some output channels. Rows are the outer loop: a tile's rows of the input
stay while the weights of all its channels pass by, unless keeping the weights and passing the input moves
less. Tiles are as large as the buffers allow and as equal as can be; a layer that would fit in one tile is
still cut, where it has more to load, so that loading, computing and storing overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backends.fpga.compute import HOST, Floats, LayerArrays, compute_cycles
from backends.fpga.layers import KINDS, Layer
from backends.fpga.target import Dpu, FpgaTarget, Systolic

LEAST_TILES = 4
"""Tiles to cut a layer into if its size allows: then at most about a quarter of its traffic is not hidden."""

DEPTHWISE = KINDS.index("depthwise")


@dataclass(frozen=True)
class Plan:
    """Tilings of layers, arrays of shape (layers,).

    Args:
        row_tiles, channel_tiles: into how many parts the rows and the channels are cut.
        row_units, channel_units: what is cut: groups of rows and channels that the array takes at a time.
        compute_cycles: of all tiles together.
        first_bytes: that must arrive before the first tile can be computed.
        load_bytes: of all tiles together, the first included.
        store_bytes: of all tiles together.
    """

    row_tiles: Floats
    channel_tiles: Floats
    row_units: Floats
    channel_units: Floats
    compute_cycles: Floats
    first_bytes: Floats
    load_bytes: Floats
    store_bytes: Floats

    @property
    def tiles(self) -> Floats:
        """Tiles of each layer."""
        return self.row_tiles * self.channel_tiles


@dataclass(frozen=True)
class _Units:
    """What an array takes at a time: rows and channels of the output, shape (layers,), and input channels."""

    rows: Floats
    channels: Floats
    inputs: int


def _units(arrays: LayerArrays, target: FpgaTarget) -> _Units:
    conv = arrays.is_conv
    if isinstance(target.array, Dpu):
        dpu = target.array
        rows = np.where(conv, dpu.pixels, dpu.alu_pixels)
        return _Units(rows, np.where(conv, dpu.outputs, dpu.alu_channels), dpu.inputs)
    assert isinstance(target.array, Systolic)
    rows = np.ceil(target.array.rows / arrays.out_width)
    return _Units(rows, np.where(conv, target.array.columns, 1.0), target.array.rows)


def plan(arrays: LayerArrays, target: FpgaTarget, precision: str) -> Plan:
    """The tiling of each layer.

    Raises:
        ValueError: a buffer is too small for the least tile of some layer.
    """
    size = target.element_bytes(precision)
    memory = target.memory
    units = _units(arrays, target)
    conv = arrays.is_conv
    row_units = np.ceil(arrays.out_height / units.rows)
    channel_units = np.ceil(arrays.out_channels / units.channels)
    channels_a_unit = np.minimum(units.channels, arrays.out_channels)

    # How many channels at a time: by their weights, by one unit of their rows of output, and where each
    # output channel has an input channel of its own, of input.
    unit_rows = np.minimum(units.rows, arrays.out_height)
    unit_weights = size * arrays.weights / arrays.out_channels * channels_a_unit
    unit_output = size * unit_rows * arrays.out_width * channels_a_unit
    in_row = size * arrays.width * np.where(conv, arrays.channels, channels_a_unit)
    needed_rows = np.minimum((unit_rows - 1) * arrays.stride + arrays.kernel, arrays.height)
    unit_input = needed_rows * in_row
    half_in, half_weights, half_out = (
        size / 2 for size in (memory.input_bytes, memory.weight_bytes, memory.output_bytes)
    )
    _check(arrays, unit_input, half_in, "input_bytes")
    _check(arrays, unit_weights / np.ceil(arrays.channels / units.inputs), half_weights, "weight_bytes")
    _check(arrays, unit_output, half_out, "output_bytes")

    # Where one unit's weights do not fit, its sum is made in parts, kept in the accumulators meanwhile.
    parts = np.maximum(np.ceil(unit_weights / half_weights), 1)
    channel_units, unit_weights = channel_units * parts, unit_weights / parts

    weights = size * arrays.weights
    resident = weights <= memory.weight_bytes
    fit = np.where(resident, channel_units, half_weights // np.maximum(unit_weights, 1))
    fit = np.minimum(fit, half_out // unit_output)
    fit = np.where(conv, fit, np.minimum(fit, half_in // unit_input))
    at_once = np.minimum(fit, channel_units)
    channel_tiles = np.ceil(channel_units / at_once)

    in_rows = half_in // (in_row * np.where(conv, 1, at_once))
    by_input = ((in_rows - arrays.kernel) // arrays.stride + 1) // units.rows
    by_input = np.where(in_rows >= arrays.height, row_units, np.maximum(by_input, 1))
    by_output = half_out // (unit_output * at_once)
    rows_at_once = np.minimum(np.minimum(by_input, by_output), row_units)
    row_tiles = np.ceil(row_units / rows_at_once)
    by_rows = arrays.channels * arrays.height * arrays.width >= arrays.weights
    more_rows = np.minimum(np.ceil(LEAST_TILES / channel_tiles), row_units)
    more_channels = np.minimum(np.ceil(LEAST_TILES / row_tiles), channel_units)
    row_tiles, channel_tiles = (
        np.where(by_rows, np.maximum(row_tiles, more_rows), row_tiles),
        np.where(by_rows, channel_tiles, np.maximum(channel_tiles, more_channels)),
    )

    # Windows reach over the edge of their tile, so neighbours load some rows twice.
    halo = np.maximum(arrays.kernel - arrays.stride, 0)
    swept_rows = np.minimum(arrays.height + (row_tiles - 1) * halo, row_tiles * arrays.height)
    sweep = size * swept_rows * arrays.width * arrays.channels
    rows_outer = sweep + np.where(resident, 1, row_tiles) * weights
    channels_outer = weights + channel_tiles * sweep
    output = size * arrays.out_channels * arrays.out_height * arrays.out_width
    shared = np.where(conv, 1, channel_tiles)
    kept = resident & (row_tiles > 1)  # needed in full before the second row of tiles, so loaded first
    first = sweep / (row_tiles * shared) + weights / np.where(kept & conv, 1, channel_tiles)
    second = arrays.added * output
    host = arrays.kind == HOST
    tiles = row_tiles * channel_tiles
    load = np.where(conv, np.minimum(rows_outer, channels_outer), sweep + weights) + second
    return Plan(
        row_tiles=np.where(host, 1, row_tiles),
        channel_tiles=np.where(host, 1, channel_tiles),
        row_units=row_units,
        channel_units=channel_units,
        compute_cycles=compute_cycles(arrays, target, precision),
        first_bytes=np.where(host, 0, np.minimum(first + second / tiles, load)),
        load_bytes=np.where(host, 0, load),
        store_bytes=np.where(host, 0, output),
    )


def _check(arrays: LayerArrays, least: Floats, half: float, field: str) -> None:
    """Refuse a buffer of which one half cannot hold the least tile."""
    bad = (least > half) & (arrays.kind != HOST)
    if bad.any():
        i = int(np.argmax(np.where(bad, least, 0)))
        kind = KINDS[int(arrays.kind[i])]
        shape = "x".join(str(int(a[i])) for a in (arrays.channels, arrays.height, arrays.width))
        raise ValueError(
            f"{field} = {int(2 * half)} is too small for one tile of the {kind} layer "
            f"{shape}-{int(arrays.out_channels[i])}-k{int(arrays.kernel[i])}: "
            f"at least {int(np.ceil(2 * least[i]))} bytes are needed"
        )


# --- the tiles of one layer, for the simulator ---


@dataclass(frozen=True)
class Tiles:
    """The tiles of one layer in the order they run, in cycles; each list has one number a tile.

    Args:
        load: on the DDR port, 0 if nothing is loaded.
        compute: on the array.
        store: on the DDR port, 0 if nothing is stored.
    """

    load: list[int]
    compute: list[int]
    store: list[int]


def tiles_of(plan: Plan, i: int, target: FpgaTarget) -> Tiles:
    """The tiles of layer `i`, cut into whole units, bytes and cycles."""
    rows = _shares(int(plan.row_units[i]), int(plan.row_tiles[i]))
    channels = _shares(int(plan.channel_units[i]), int(plan.channel_tiles[i]))
    cells = np.outer(rows, channels).ravel()
    count = len(cells)
    rest = plan.load_bytes[i] - plan.first_bytes[i]
    loads = (
        [plan.first_bytes[i], *([rest / (count - 1)] * (count - 1))] if count > 1 else [plan.load_bytes[i]]
    )
    stores = plan.store_bytes[i] * cells / cells.sum()
    compute = np.diff(np.round(plan.compute_cycles[i] * np.cumsum(cells) / cells.sum()), prepend=0)
    return Tiles(
        load=[port_cycles(float(amount), target) for amount in loads],
        compute=[int(cycles) for cycles in compute],
        store=[port_cycles(float(amount), target) for amount in stores],
    )


def _shares(units: int, parts: int) -> np.ndarray:
    """`units` cut into `parts` whole shares as equal as can be."""
    edges = np.arange(parts + 1) * units // parts
    return np.diff(edges)


def port_cycles(amount: float, target: FpgaTarget) -> int:
    """Cycles that `amount` bytes occupy the DDR port, its latency included."""
    if amount <= 0:
        return 0
    return target.memory.latency_cycles + int(np.ceil(amount / target.memory.rate - 1e-9))


def describe(layer: Layer, plan: Plan, i: int) -> str:
    """`layer` and its tiling, for people."""
    return f"{layer}: {int(plan.row_tiles[i])} x {int(plan.channel_tiles[i])} tiles"
