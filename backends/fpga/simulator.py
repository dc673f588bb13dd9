"""Tile by tile, event by event: load, compute and store with double buffers and one DDR port.

The port serves tiles in a fixed order, as a list of DMA descriptors does: load 0, load 1, store 0, load 2,
store 1, ... A fixed order costs little and makes the model monotone: no event starts earlier because another
one takes longer, so more bandwidth or a faster array can never slow a layer. (An arbiter that serves whoever
asks first has Graham's anomalies: R. L. Graham, Bounds for certain multiprocessing anomalies, 1966.)

For tile i, with two buffers on each side:

    load start     = max(port free, compute end of tile i-2)      its input buffer is free
    compute start  = max(load end, compute end of tile i-1)
    compute end    = max(compute start + cycles, drain end of tile i-1)
    drain start    = max(compute end + skew, store end of tile i-1)   its output buffer is free
    drain end      = drain start + drain
    store start    = max(port free, drain end)

`skew` and `drain` are 0 unless an array needs time to hand out its results, as our RTL does
(:mod:`backends.fpga.rtl`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.fpga.tiling import Tiles

Span = tuple[int, int]
"""First cycle and the cycle after the last."""


@dataclass(frozen=True)
class Timeline:
    """When each tile was loaded, computed and stored; lists of one span a tile.

    Args:
        load, compute, store: spans in cycles from the layer's start.
    """

    load: list[Span]
    compute: list[Span]
    store: list[Span]

    @property
    def cycles(self) -> int:
        """Until the last result is stored."""
        return max(self.store[-1][1], self.compute[-1][1])


def simulate(tiles: Tiles, *, skew: int = 0, drain: int = 0, separate_stores: bool = False) -> Timeline:
    """Run `tiles`.

    Args:
        tiles: in order.
        skew: cycles from the last operand's entry to the last result's being ready.
        drain: cycles for moving a tile's results to the output buffer.
        separate_stores: stores have a port of their own.
    """
    count = len(tiles.load)
    load: list[Span] = []
    compute: list[Span] = []
    store: list[Span] = []
    port = store_port = drained = 0

    def run_store(i: int) -> None:
        nonlocal port, store_port, drained
        before = store[i - 1][1] if i else 0
        drained = max(compute[i][1] + skew, before) + drain
        free = store_port if separate_stores else port
        begin = max(free, drained)
        store.append((begin, begin + tiles.store[i]))
        if separate_stores:
            store_port = begin + tiles.store[i]
        elif tiles.store[i]:
            port = begin + tiles.store[i]

    for i in range(count):
        begin = max(port, compute[i - 2][1] if i > 1 else 0)
        load.append((begin, begin + tiles.load[i]))
        port = load[i][1]
        if i:
            run_store(i - 1)
        begin = max(load[i][1], compute[i - 1][1] if i else 0)
        compute.append((begin, max(begin + tiles.compute[i], drained)))
    run_store(count - 1)
    return Timeline(load, compute, store)


def chrome_trace(
    layers: Sequence[tuple[str, Timeline]], clock_mhz: float, pause: int = 0
) -> dict[str, object]:
    """Timelines of layers that run one after the other, in Chrome's trace format: open it in
    ``chrome://tracing`` or Perfetto. Times are modelled microseconds.

    Args:
        layers: name and timeline of each.
        clock_mhz: cycles a microsecond.
        pause: cycles before each layer, for starting it.
    """
    tracks = ("load", "compute", "store")
    events: list[dict[str, object]] = [
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": t, "args": {"name": f"{track} (modelled)"}}
        for t, track in enumerate(tracks)
    ]
    start = 0
    for name, timeline in layers:
        start += pause
        for t, track in enumerate(tracks):
            for i, (begin, end) in enumerate(getattr(timeline, track)):
                if end > begin:
                    events.append(
                        {
                            "name": name,
                            "cat": track,
                            "ph": "X",
                            "pid": 1,
                            "tid": t,
                            "ts": (start + begin) / clock_mhz,
                            "dur": (end - begin) / clock_mhz,
                            "args": {"tile": i, "cycles": end - begin},
                        }
                    )
        start += timeline.cycles
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"origin": "modelled"}}


def write_trace(path: Path, layers: Sequence[tuple[str, Timeline]], clock_mhz: float, pause: int = 0) -> None:
    """Write :func:`chrome_trace` to `path`.

    Raises:
        OSError: it cannot be written.
    """
    path.write_text(json.dumps(chrome_trace(layers, clock_mhz, pause)) + "\n", encoding="utf-8")
