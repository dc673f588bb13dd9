"""Two tables, or a profile and a table, kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

from backends.base import Measurement
from backends.kernels.costs import is_view
from backends.kernels.kernel import Kernel
from lut.kernels.likeness import Work, work
from lut.kernels.table import KernelTable


def compare(
    here: Mapping[Kernel, Measurement],
    counts: Mapping[Kernel, int],
    there: KernelTable,
    network: str = "",
    by_work: bool = False,
) -> dict[str, Any]:
    """What the kernels of a network cost here and there, JSON-ready; the largest difference first.

    Args:
        here: measured.
        counts: how many nodes of the network run each.
        there: a table of another device, another setting or another runtime.
        network: its name: what it takes as a whole is told, too, where the table has it.
        by_work: the other runtime fuses otherwise: kernels are the same if their main work is
            (:mod:`lut.kernels.likeness`), and what is fused to it is in the time of either.
    """
    timed = [kernel for kernel in here if not is_view(kernel)]
    find = _by_work(there) if by_work else _as_it_is(there)
    found = {kernel: ms for kernel in timed if (ms := find(kernel)) is not None}
    rows: list[dict[str, Any]] = [
        {
            "kernel": str(kernel),
            "nodes": counts.get(kernel, 1),
            "here_ms": here[kernel].latency_ms,
            "there_ms": there_ms,
            "ratio": there_ms / here[kernel].latency_ms,
        }
        for kernel, there_ms in found.items()
    ]
    rows.sort(key=lambda row: -abs(row["there_ms"] - row["here_ms"]) * row["nodes"])
    wholes = [entry.measurement.latency_ms for entry in there.networks if entry.name == network]
    return {
        "target": str(there.target),
        "matched": "by their main work" if by_work else "as they are",
        "distinct": len(timed),
        "common": len(found),
        "here_ms": sum(row["here_ms"] * row["nodes"] for row in rows),
        "there_ms": sum(row["there_ms"] * row["nodes"] for row in rows),
        "whole_there_ms": wholes[-1] if wholes else None,
        "kernels": rows,
    }


Find = Callable[[Kernel], float | None]
"""What a kernel costs there, in ms; None if that is not known."""


def _as_it_is(there: KernelTable) -> Find:
    return lambda kernel: there.entries[kernel].latency_ms if kernel in there.entries else None


def _by_work(there: KernelTable) -> Find:
    of: dict[Work, list[float]] = {}
    for kernel, found in there.entries.items():
        if done := work(kernel):
            of.setdefault(done, []).append(found.latency_ms)

    def find(kernel: Kernel) -> float | None:
        done = work(kernel)
        return fmean(of[done]) if done in of else None

    return find
