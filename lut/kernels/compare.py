"""Two tables, or a profile and a table, kernel by kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.base import Measurement
from backends.kernels.costs import is_view
from backends.kernels.kernel import Kernel
from lut.kernels.table import KernelTable


def compare(
    here: Mapping[Kernel, Measurement], counts: Mapping[Kernel, int], there: KernelTable
) -> dict[str, Any]:
    """What the kernels of a network cost here and there, JSON-ready; the largest difference first.

    Args:
        here: measured.
        counts: how many nodes of the network run each.
        there: a table of another device, or of another setting.
    """
    timed = [kernel for kernel in here if not is_view(kernel)]
    common = [kernel for kernel in timed if kernel in there.entries]
    rows: list[dict[str, Any]] = [
        {
            "kernel": str(kernel),
            "nodes": counts.get(kernel, 1),
            "here_ms": here[kernel].latency_ms,
            "there_ms": there.entries[kernel].latency_ms,
            "ratio": there.entries[kernel].latency_ms / here[kernel].latency_ms,
        }
        for kernel in common
    ]
    rows.sort(key=lambda row: -abs(row["there_ms"] - row["here_ms"]) * row["nodes"])
    return {
        "target": str(there.target),
        "distinct": len(timed),
        "common": len(common),
        "here_ms": sum(row["here_ms"] * row["nodes"] for row in rows),
        "there_ms": sum(row["there_ms"] * row["nodes"] for row in rows),
        "kernels": rows,
    }
