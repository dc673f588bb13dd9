"""The picture of a network on an FPGA: each block's cycles, and its layers under the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hwbench.palette import GREY
from hwbench.plots import BLUE, GREEN, ORANGE, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from backends.fpga.explain import LayerCost
    from backends.fpga.target import FpgaTarget
    from hwbench.trace import BlockCost

COLOURS = {"compute": BLUE, "memory": ORANGE, "overhead": GREY}
LABELS = {
    "compute": "array works",
    "memory": "array waits for DDR",
    "overhead": "starting layers",
}


def draw_costs(
    path: Path, *, costs: Sequence[BlockCost], target: FpgaTarget, precision: str, title: str
) -> None:
    """Cycles by block, and the roofline after Williams et al., CACM 52 (2009).

    Args:
        path: the file to write.
        costs: the blocks of a network, in order.
        target: what they were simulated on.
        precision: number format.
        title: what network it is.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 0.7 + max(4.5, 0.24 * len(costs))), layout="constrained")
    figure.suptitle(f"{title}\n{target.device}, {precision}, one core: modelled, not measured", fontsize=10)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _bars(left, costs, target)
    _roofline(right, [layer for cost in costs for layer in cost.layers], target, precision)
    save(figure, path)


def _bars(ax: Axes, costs: Sequence[BlockCost], target: FpgaTarget) -> None:
    at, start = np.arange(len(costs)), np.zeros(len(costs))
    for share, colour in COLOURS.items():
        width = np.array([target.milliseconds(cost.share(share)) for cost in costs])
        ax.barh(at, width, left=start, color=colour, label=LABELS[share], height=0.75)
        start += width
    ax.set_yticks(at, [str(cost.block) for cost in costs], fontsize=6)
    ax.invert_yaxis()
    ax.set(xlabel="modelled time (ms)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="lower right")


def _roofline(ax: Axes, layers: Sequence[LayerCost], target: FpgaTarget, precision: str) -> None:
    from backends.fpga.explain import peak_gops

    peak = peak_gops(target, precision)
    bandwidth = target.memory.rate * target.clock_mhz / 1e3
    for kind, colour, label in (
        ("conv", BLUE, "convolutions"),
        ("depthwise", GREEN, "depthwise, on the ALU" if target.family == "dpu" else "depthwise"),
    ):
        found = [cost for cost in layers if cost.layer.kind == kind]
        if found:
            x = [cost.intensity for cost in found]
            y = [2e-6 * cost.layer.macs / target.milliseconds(cost.cycles) for cost in found]
            ax.scatter(x, y, s=16, color=colour, alpha=0.8, linewidths=0, label=label)
    span = np.geomspace(0.5, 4 * max(peak / bandwidth, max(cost.intensity for cost in layers)), 100)
    ax.plot(span, np.minimum(peak, bandwidth * span), color="black", linewidth=1, label="roof")
    ax.annotate(f"{peak:,.0f} GOP/s", (span[-1], peak), ha="right", va="bottom", fontsize=8)
    ax.annotate(f"{bandwidth:.1f} GB/s ", (1.5, 1.5 * bandwidth), ha="right", va="bottom", fontsize=8)
    ax.set(
        xscale="log", yscale="log", xlabel="operations per byte", ylabel="modelled GOP/s, overhead included"
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")  # powers would be formulas, which no text here is
    ax.grid(color=GREY, alpha=0.2, linewidth=0.5, which="both")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
