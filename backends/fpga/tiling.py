"""How layers are cut into tiles that fit the buffers, and what each tile moves.

A tile is some rows of the output by some output channels. Rows are the outer loop: a tile's rows of the input
stay while the weights of all its channels pass by, unless keeping the weights and passing the input moves
less. Tiles are as large as the buffers allow and as equal as can be; a layer that would fit in one tile is
still cut, where it has more to load, so that loading, computing and storing overlap. A DPU may leave half of its
rows or channels idle where the finer tiles end sooner (:mod:`backends.fpga.closed_form` chooses).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from backends.fpga.compute import Bools, Engine, Floats, LayerArrays, engine_cycles
from backends.fpga.layers import KINDS
from backends.fpga.target import Dpu, FpgaTarget, Memory, Systolic
from compofa.errors import InputError

LEAST_TILES = 4
"""Tiles to cut a layer into if its size allows: then at most about a quarter of its traffic is not hidden."""


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
        fits: whether the buffers hold the least tile; where not, the rest means nothing.
    """

    row_tiles: Floats
    channel_tiles: Floats
    row_units: Floats
    channel_units: Floats
    compute_cycles: Floats
    first_bytes: Floats
    load_bytes: Floats
    store_bytes: Floats
    fits: Bools

    @property
    def tiles(self) -> Floats:
        """Tiles of each layer."""
        return self.row_tiles * self.channel_tiles

    @classmethod
    def empty(cls, layers: int) -> Plan:
        """To be :meth:`put` into."""
        numbers = {field.name: np.empty(layers) for field in fields(cls) if field.name != "fits"}
        return cls(**numbers, fits=np.empty(layers, dtype=bool))

    def __getitem__(self, part: NDArray[np.intp]) -> Plan:
        return Plan(*(getattr(self, field.name)[part] for field in fields(self)))

    def put(self, index: NDArray[np.intp], other: Plan) -> None:
        """Take the tilings of layers `index` from `other`, which has no more than those."""
        for field in fields(self):
            getattr(self, field.name)[index] = getattr(other, field.name)


@dataclass(frozen=True)
class _Least:
    """The least tile of each layer on one engine: one unit of rows by one of channels. Arrays are (layers,).

    Args:
        rows, channels: of the output.
        inputs: input channels that the array reduces at a time.
        row_bytes: of one row of the input that the tile needs.
        input_bytes, weight_bytes, output_bytes: that it needs in each buffer.
        engine: that runs the layers.
    """

    rows: float | Floats
    channels: int
    inputs: int
    row_bytes: Floats
    input_bytes: Floats
    weight_bytes: Floats
    output_bytes: Floats
    engine: Engine


@dataclass(frozen=True)
class Cut:
    """The part of a :class:`Plan` that says how layers are cut; fields of the same names are the same.

    Args:
        resident: whether all weights of a layer stay in their buffer.
        least: the least tiles.
    """

    row_tiles: Floats
    channel_tiles: Floats
    row_units: Floats
    channel_units: Floats
    resident: Bools
    least: _Least


def plan(arrays: LayerArrays, target: FpgaTarget, precision: str, engine: Engine) -> Plan:
    """The tiling of each layer, all of them running on `engine`.

    Raises:
        ValueError: the array lacks the precision.
    """
    size = target.element_bytes(precision)
    compute = engine_cycles(arrays, target, precision, engine)
    if engine == "host":  # one tile that moves nothing over the port
        one, none = np.ones(len(arrays)), np.zeros(len(arrays))
        return Plan(one, one, one, one, compute, none, none, none, fits=np.ones(len(arrays), dtype=bool))
    cut = cut_layers(arrays, target, precision, engine)
    first, load = _loads(arrays, size, cut)
    return Plan(
        row_tiles=cut.row_tiles,
        channel_tiles=cut.channel_tiles,
        row_units=cut.row_units,
        channel_units=cut.channel_units,
        compute_cycles=compute,
        first_bytes=first,
        load_bytes=load,
        store_bytes=size * arrays.out_channels * arrays.out_height * arrays.out_width,
        fits=np.all([2 * b <= room for b, room in _needs(arrays, cut.least, target.memory)], axis=0),
    )


def _least(arrays: LayerArrays, target: FpgaTarget, size: float, engine: Engine) -> _Least:
    """The least tiles, `size` bytes an element."""
    mac, array = engine == "mac", target.array
    rows: float | Floats
    if isinstance(array, Dpu):
        rows, channels = (array.pixels, array.outputs) if mac else (array.alu_pixels, array.alu_channels)
        inputs = array.inputs
    else:
        assert isinstance(array, Systolic)
        rows, channels, inputs = (
            np.ceil(array.rows / arrays.out_width),
            array.columns if mac else 1,
            array.rows,
        )
    full_rows = np.minimum(rows, arrays.out_height)
    some = np.minimum(channels, arrays.out_channels)
    row_bytes = size * arrays.width * (arrays.channels if mac else some)
    needed = np.minimum((full_rows - 1) * arrays.stride + arrays.kernel, arrays.height)
    return _Least(
        rows=rows,
        channels=channels,
        inputs=inputs,
        row_bytes=row_bytes,
        input_bytes=needed * row_bytes,
        weight_bytes=size * arrays.weights / arrays.out_channels * some,
        output_bytes=size * full_rows * arrays.out_width * some,
        engine=engine,
    )


def cut_layers(arrays: LayerArrays, target: FpgaTarget, precision: str, engine: Engine) -> Cut:
    """Into how many tiles the rows and the channels of each layer are cut, all of them running on `engine`, the MAC
    array or the ALU.

    Raises:
        ValueError: the array lacks the precision.
    """
    size, memory = target.element_bytes(precision), target.memory
    least = _least(arrays, target, size, engine)
    row_units = np.ceil(arrays.out_height / least.rows)
    channel_units = np.ceil(arrays.out_channels / least.channels)
    # Where one unit's weights do not fit, its sum is made in parts, kept in the accumulators meanwhile.
    parts = np.maximum(np.ceil(least.weight_bytes / (memory.weight_bytes / 2)), 1)
    channel_units *= parts
    resident = size * arrays.weights <= memory.weight_bytes
    mac = least.engine == "mac"
    half_in, half_out = memory.input_bytes / 2, memory.output_bytes / 2
    weights = np.maximum(least.weight_bytes / parts, 1)
    fit = np.where(resident, channel_units, np.floor(memory.weight_bytes / 2 / weights))
    fit = np.minimum(fit, np.floor(half_out / least.output_bytes))
    if not mac:  # its input has as many channels as the output
        fit = np.minimum(fit, np.floor(half_in / least.input_bytes))
    at_once = np.minimum(np.maximum(fit, 1), channel_units)
    channels = np.ceil(channel_units / at_once)

    in_rows = np.floor(half_in / (least.row_bytes if mac else least.row_bytes * at_once))
    out_rows = np.floor((in_rows - arrays.kernel) / arrays.stride) + 1
    fit = np.where(in_rows >= arrays.height, row_units, np.maximum(np.floor(out_rows / least.rows), 1))
    fit = np.minimum(fit, np.floor(half_out / (least.output_bytes * at_once)))
    rows = np.ceil(row_units / np.minimum(np.maximum(fit, 1), row_units))

    by_rows = arrays.channels * arrays.height * arrays.width >= arrays.weights
    more_rows = np.minimum(np.ceil(LEAST_TILES / channels), row_units)
    more_channels = np.minimum(np.ceil(LEAST_TILES / rows), channel_units)
    return Cut(
        row_tiles=np.where(by_rows, np.maximum(rows, more_rows), rows),
        channel_tiles=np.where(by_rows, channels, np.maximum(channels, more_channels)),
        row_units=row_units,
        channel_units=channel_units,
        resident=resident,
        least=least,
    )


def _loads(arrays: LayerArrays, size: float, cut: Cut) -> tuple[Floats, Floats]:
    """Bytes to load before the first tile, and for all."""
    rows, channels, resident = cut.row_tiles, cut.channel_tiles, cut.resident
    weights = size * arrays.weights
    # Windows reach over the edge of their tile, so neighbours load some rows twice.
    halo = np.maximum(arrays.kernel - arrays.stride, 0)
    swept = np.minimum(arrays.height + (rows - 1) * halo, rows * arrays.height)
    sweep = size * swept * arrays.width * arrays.channels
    second = size * arrays.added * arrays.out_channels * arrays.out_height * arrays.out_width
    if cut.least.engine == "mac":
        rows_outer = sweep + np.where(resident, 1, rows) * weights
        load = np.minimum(rows_outer, weights + channels * sweep) + second
        # Weights that stay are needed in full before the second row of tiles, so they are loaded first.
        kept = resident & (rows > 1)
        first = sweep / rows + weights / np.where(kept, 1, channels)
    else:
        load = sweep + weights + second
        first = sweep / (rows * channels) + weights / channels
    return np.minimum(first + second / (rows * channels), load), load


def _needs(arrays: LayerArrays, least: _Least, memory: Memory) -> tuple[tuple[Floats, int], ...]:
    """Bytes that the least tiles need in the input, weight and output buffer, with the size of each buffer."""
    weights = least.weight_bytes / np.ceil(arrays.channels / least.inputs)
    needed = (least.input_bytes, weights, least.output_bytes)
    return tuple(zip(needed, (memory.input_bytes, memory.weight_bytes, memory.output_bytes), strict=True))


def check(arrays: LayerArrays, target: FpgaTarget, precision: str, engine: Engine) -> None:
    """Refuse a buffer of which one half cannot hold the least tile of some layer; all run on `engine`.

    Raises:
        ValueError: names the buffer, the layer and the least size.
    """
    needs = _needs(arrays, _least(arrays, target, target.element_bytes(precision), engine), target.memory)
    for field, (needed, room) in zip(("input_bytes", "weight_bytes", "output_bytes"), needs, strict=True):
        if (2 * needed > room).any():
            i = int(np.argmax(needed))
            kind = KINDS[int(arrays.kind[i])]
            shape = "x".join(str(int(a[i])) for a in (arrays.channels, arrays.height, arrays.width))
            raise InputError(
                f"{field} = {room} is too small for one tile of the {kind} layer "
                f"{shape}-{int(arrays.out_channels[i])}-k{int(arrays.kernel[i])}: "
                f"at least {int(np.ceil(2 * needed[i]))} bytes are needed"
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
