"""The pictures. Each function draws one into a file whose suffix says the format: png, svg or pdf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compofa.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GREY = "#0072b2", "#767676"
"""From the palette of Okabe and Ito, told apart by colour-blind readers."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure to `path` at once; names in it are text, whatever signs they hold (``$`` begins no formula).

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=200)


@dataclass(frozen=True)
class Panel:
    """Predictions of one model, with its scores; `predicted_ms` has shape (networks,)."""

    name: str
    predicted_ms: NDArray[np.float64]
    mape_pct: float
    spearman: float | None


def draw_validation(
    path: Path,
    *,
    measured_ms: NDArray[np.float64],
    panels: Sequence[Panel],
    title: str,
    target: str,
    origin: str = "measured",
) -> None:
    """Predicted against measured latency, one panel a model, with the identity line and the 10 % band.

    Args:
        path: the file to write.
        measured_ms: shape (networks,).
        panels: the models, from left to right.
        title: first line above the panels; `target` comes below it.
        origin: of `measured_ms`: ``measured``, or ``modelled`` by a cycle model.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels), 4.95), layout="constrained")
    figure.suptitle(f"{title}\n{fill(target, 100)}", fontsize=9)
    everything = np.concatenate([measured_ms, *(panel.predicted_ms for panel in panels)])
    span = (0.93 * float(everything.min()), 1.07 * float(everything.max()))
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        _validation_panel(ax, measured_ms, panel, span, origin)
    axes[0].set_ylabel("predicted latency (ms)")
    save(figure, path)


def _validation_panel(
    ax: Axes, measured_ms: NDArray[np.float64], panel: Panel, span: tuple[float, float], origin: str
) -> None:
    line = np.array(span)
    ax.fill_between(line, 0.9 * line, 1.1 * line, color=GREY, alpha=0.15, linewidth=0, label="within 10 %")
    ax.plot(line, line, color=GREY, linewidth=1, label="identity")
    ax.scatter(measured_ms, panel.predicted_ms, s=16, color=BLUE, alpha=0.8, linewidths=0, label="subnets")
    ax.set(xlim=span, ylim=span, box_aspect=1, xlabel=f"{origin} latency (ms)")
    rank = "" if panel.spearman is None else f", Spearman {panel.spearman:.3f}"
    ax.set_title(f"{panel.name}: MAPE {panel.mape_pct:.1f} %{rank}", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", frameon=False, fontsize=8)


ORANGE, GREEN = "#d55e00", "#009e73"
SERIES_COLOURS = (ORANGE, BLUE, GREEN)


@dataclass(frozen=True)
class FrontierSeries:
    """One space in the frontier picture; all arrays are (latency_ms, accuracy), shape (n, 2).

    Args:
        name: for the legend.
        measured: subnets with measured accuracy.
        predicted: subnets with predicted accuracy, if any.
        frontier: the measured subnets that none dominates, by rising latency.
        searched: the frontier of predicted accuracies that a search found, likewise, if any.
        accuracy_is: what `measured` and `frontier` really are: ``predicted`` where nothing was measured.
    """

    name: str
    measured: NDArray[np.float64]
    predicted: NDArray[np.float64] | None
    frontier: NDArray[np.float64]
    searched: NDArray[np.float64] | None = None
    accuracy_is: str = "measured"


def draw_frontiers(
    path: Path, *, series: Sequence[FrontierSeries], title: str, target: str, latency: str
) -> None:
    """Clouds and frontiers of several spaces, accuracy over latency.

    Args:
        path: the file to write.
        series: the spaces.
        title: first line above the panel; `target` comes below it.
        latency: how the latency was come by, for the axis.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 5.0), layout="constrained")
    figure.suptitle(f"{title}\n{fill(target, 100)}", fontsize=9)
    ax = figure.subplots()
    for one, colour in zip(series, SERIES_COLOURS, strict=False):
        if one.predicted is not None:
            x, y = one.predicted.T
            label = f"{one.name.split(',')[0]}, {len(x):,} random subnets predicted"
            ax.scatter(
                x,
                100 * y,
                s=3,
                color=colour,
                alpha=0.10,
                linewidths=0,
                label=label,
                zorder=1,
                rasterized=True,
            )
        x, y = one.measured.T
        ax.scatter(
            x, 100 * y, s=7, color=colour, alpha=0.35, linewidths=0, label=one.name, zorder=2, rasterized=True
        )
    for one, colour in zip(series, SERIES_COLOURS, strict=False):
        if one.searched is not None:
            x, y = one.searched.T
            label = f"{one.name.split(',')[0]}, searched frontier, predicted"
            ax.step(
                x, 100 * y, where="post", color=colour, linewidth=1.0, linestyle=":", label=label, zorder=3
            )
        x, y = one.frontier.T
        name = f"{one.name.split(',')[0]}, {one.accuracy_is} frontier"
        ax.step(x, 100 * y, where="post", color=colour, linewidth=1.6, zorder=4)
        ax.plot(
            x,
            100 * y,
            "o",
            color=colour,
            markersize=4,
            markeredgecolor="white",
            markeredgewidth=0.5,
            zorder=5,
            label=name,
        )
    ax.set(xlabel=f"latency (ms, {latency})", ylabel="test accuracy (%, fp32)")
    ax.grid(color=GREY, alpha=0.2, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    legend = ax.legend(loc="lower right", frameon=False, fontsize=8)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
    save(figure, path)
