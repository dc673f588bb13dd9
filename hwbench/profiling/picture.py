"""The picture of a profile: where the time goes, and each kernel under the machine's measured ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backends.kernels.costs import moved_bytes, operations
from hwbench.palette import GREY
from hwbench.plots import BLUE, GREEN, ORANGE, save
from hwbench.profiling.profiles import KernelShare, Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = 12
LEAST_SHARE = 5e-4
"""Of the time: what a kernel below it achieves is lost in the time of a call."""
COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00")
"""Of the operators that cost most; the others are grey."""


def draw_profile(path: Path, profile: Profile) -> None:
    """Operators by time, and the roofline after Williams et al., CACM 52 (2009).

    Args:
        path: the file to write.
        profile: of a model.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    figure.suptitle(
        f"{profile.model}, {profile.precision}: {profile.latency_ms:.3g} ms, measured\n{profile.target}",
        fontsize=9,
    )
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    colours = dict(zip([g.name for g in profile.by_operator()], COLOURS, strict=False))
    _bars(left, profile, colours)
    _roofline(right, profile, colours)
    save(figure, path)


def _bars(ax: Axes, profile: Profile, colours: dict[str, str]) -> None:
    groups = profile.by_operator()[:BARS]
    at = np.arange(len(groups))
    ax.barh(at, [g.total_ms for g in groups], color=[colours.get(g.name, GREY) for g in groups], height=0.75)
    for place, group in zip(at, groups, strict=True):
        ax.annotate(f" {100 * group.share:.0f} %", (group.total_ms, place), va="center", fontsize=7)
    ax.set_yticks(at, [f"{g.name} x {g.nodes}" for g in groups], fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="time in kernels (ms)")
    ax.margins(x=0.15)
    ax.spines[["top", "right"]].set_visible(False)


def _roofline(ax: Axes, profile: Profile, colours: dict[str, str]) -> None:
    shown = [
        s for s in profile.shares if operations(s.kernel) and moved_bytes(s.kernel) and s.share > LEAST_SHARE
    ]
    ceilings = profile.ceilings
    for name in dict.fromkeys(s.kernel.op for s in shown):
        some = [s for s in shown if s.kernel.op == name]
        label = name if name in colours else None
        ax.scatter(
            *_points(some),
            s=_sizes(some),
            color=colours.get(name, GREY),
            alpha=0.6,
            linewidths=0,
            label=label,
        )
    x = [operations(s.kernel) / moved_bytes(s.kernel) for s in shown]
    span = np.geomspace(min([*x, 0.1]), max([*x, 4 * ceilings.gflops / ceilings.memory_gb_s]), 100)
    ax.plot(span, np.minimum(ceilings.gflops, ceilings.memory_gb_s * span), color="black", linewidth=1)
    ax.plot(
        span,
        np.minimum(ceilings.gflops, ceilings.cache_gb_s * span),
        color="black",
        linewidth=1,
        linestyle=":",
    )
    ax.annotate(
        f"{ceilings.gflops:.0f} GFLOP/s", (span[-1], ceilings.gflops), ha="right", va="bottom", fontsize=8
    )
    for rate, what in ((ceilings.memory_gb_s, "memory"), (ceilings.cache_gb_s, "cache")):
        ax.annotate(f"{rate:.0f} GB/s {what}", (span[0], rate * span[0]), va="bottom", fontsize=8)
    ax.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="achieved GFLOP/s (measured)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    ax.grid(color=GREY, alpha=0.2, linewidth=0.5, which="both")
    ax.spines[["top", "right"]].set_visible(False)
    if any(s.kernel.op in colours for s in shown):
        ax.legend(frameon=False, fontsize=8, loc="lower right", title="area: share of time", title_fontsize=8)


def _points(shares: Sequence[KernelShare]) -> tuple[list[float], list[float]]:
    x = [operations(s.kernel) / moved_bytes(s.kernel) for s in shares]
    return x, [s.gflops for s in shares]


def _sizes(shares: Sequence[KernelShare]) -> list[float]:
    return [12 + 800 * s.share for s in shares]
