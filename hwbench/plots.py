"""The pictures. Each function draws one into a file whose suffix says the format: png, svg or pdf."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compofa.files import replacing
from hwbench.palette import GREY, INK, MARKERS, SERIES

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = SERIES[:3]


def save(figure: Figure, path: Path | io.BytesIO) -> None:
    """Write a figure to `path` at once, or as a png into memory; names in it are text, whatever signs they hold (``$``
    begins no formula).

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    if isinstance(path, io.BytesIO):
        figure.savefig(path, dpi=110, format="png")
        return
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

    figure = Figure(figsize=(4.2 * len(panels), 5.8), layout="constrained")
    figure.suptitle(f"{fill(title, 90)}\n{fill(target, 90)}", fontsize=9)
    everything = np.concatenate([measured_ms, *(panel.predicted_ms for panel in panels)])
    span = (0.93 * float(everything.min()), 1.07 * float(everything.max()))
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        _validation_panel(ax, measured_ms, panel, span, origin)
    axes[0].set_ylabel("predicted latency (ms)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    save(figure, path)


def _validation_panel(
    ax: Axes, measured_ms: NDArray[np.float64], panel: Panel, span: tuple[float, float], origin: str
) -> None:
    from matplotlib.ticker import MaxNLocator

    line = np.array(span)
    ax.fill_between(line, 0.9 * line, 1.1 * line, color=GREY, alpha=0.15, linewidth=0, label="within 10 %")
    ax.plot(line, line, color=GREY, linewidth=1, label="predicted = measured")
    ax.scatter(measured_ms, panel.predicted_ms, s=16, color=BLUE, alpha=0.8, linewidths=0, label="subnets")
    ax.set(xlim=span, ylim=span, box_aspect=1, xlabel=f"{origin} latency (ms)")
    ticks = [tick for tick in MaxNLocator(5).tick_values(*span) if span[0] <= tick <= span[1]]
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)  # of equal axes, equal ones
    rank = "" if panel.spearman is None else f", Spearman {panel.spearman:.3f}"
    ax.set_title(f"{panel.name}\nMAPE {panel.mape_pct:.1f} %{rank}", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)


# --- frontiers ---


@dataclass(frozen=True)
class FrontierSeries:
    """One space in the frontier picture; all arrays are (latency_ms, accuracy), shape (n, 2).

    Args:
        name: of the space, a comma, and which subnets are shown, such as ``ofa, 3,597 subnets measured``.
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


@dataclass(frozen=True)
class NamedPoint:
    """A network of somebody's, beside the frontiers."""

    name: str
    cost: float
    accuracy: float


def draw_frontiers(
    path: Path | io.BytesIO,
    *,
    series: Sequence[FrontierSeries],
    title: str,
    target: str,
    cost: str,
    accuracy: str,
    networks: Sequence[NamedPoint] = (),
) -> None:
    """Clouds and frontiers of several spaces, accuracy over latency.

    Args:
        path: the file to write.
        series: the spaces.
        title: first line above the panel; `target` comes below it.
        cost, accuracy: what is on the two axes, with its unit.
        networks: points of their own, by name, with accuracies that somebody states.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 5.6), layout="constrained")
    figure.suptitle(f"{fill(title, 90)}\n{fill(target, 90)}", fontsize=9)
    ax = figure.subplots()
    for one, colour in zip(series, cycle(SERIES)):
        _clouds(ax, one, colour)
    for one, colour in zip(series, cycle(SERIES)):
        _lines(ax, one, colour)
    _networks(ax, networks)
    ax.set(xlabel=cost, ylabel=accuracy)
    ax.grid(color=GREY, alpha=0.2, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    _name(ax, series)
    figure.legend(
        handles=_key(series, networks), loc="outside lower center", ncols=2, frameon=False, fontsize=8
    )
    save(figure, path)


def _clouds(ax: Axes, one: FrontierSeries, colour: str) -> None:
    if one.predicted is not None:
        x, y = one.predicted.T
        ax.scatter(
            x, 100 * y, s=9, marker="+", color=colour, alpha=0.2, linewidths=0.5, zorder=1, rasterized=True
        )
    x, y = one.measured.T
    ax.scatter(x, 100 * y, s=7, color=colour, alpha=0.35, linewidths=0, zorder=2, rasterized=True)


def _lines(ax: Axes, one: FrontierSeries, colour: str) -> None:
    if one.searched is not None:
        x, y = one.searched.T
        ax.step(x, 100 * y, where="post", color=colour, linewidth=1.2, linestyle=(0, (1, 1.2)), zorder=3)
    x, y = one.frontier.T
    ax.step(x, 100 * y, where="post", color=colour, linewidth=1.6, zorder=4)
    ax.plot(
        x,
        100 * y,
        MARKERS[0],
        color=colour,
        markersize=4,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=5,
    )


def _networks(ax: Axes, networks: Sequence[NamedPoint]) -> None:
    for one in networks:
        ax.plot(one.cost, 100 * one.accuracy, "*", color=INK, markersize=8, markeredgecolor="white", zorder=6)
        ax.annotate(
            one.name,
            (one.cost, 100 * one.accuracy),
            xytext=(5, -9),
            textcoords="offset points",
            fontsize=6.5,
            color=INK,
            zorder=7,
        )


LEAST_GAP = 0.042
"""Between the names of two spaces, as a share of the axis."""


def _name(ax: Axes, series: Sequence[FrontierSeries]) -> None:
    """Each space's name where its frontier begins, one above the other where they would meet."""
    from matplotlib.patheffects import withStroke

    starts = [(float(one.frontier[0, 0]), 100 * float(one.frontier[0, 1])) for one in series]
    low, high = ax.get_ylim()
    at = -np.inf
    for i in np.argsort([y for _, y in starts]).tolist():
        x, y = starts[i]
        at = max(y, at + LEAST_GAP * (high - low))
        text = ax.annotate(
            series[i].name.partition(",")[0],
            (x, at),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=SERIES[i % len(SERIES)],
            fontsize=8,
            fontweight="bold",
            zorder=7,
        )
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _key(series: Sequence[FrontierSeries], networks: Sequence[NamedPoint]) -> list[Artist]:
    """The spaces in their colours, then what lines and points mean in any colour; only those that there are."""
    from matplotlib.lines import Line2D

    def entry(label: str, colour: str = INK, **look: Any) -> Artist:
        return Line2D([], [], color=colour, label=label, **look)

    key = [entry(one.name, colour, linewidth=4) for one, colour in zip(series, cycle(SERIES))]
    for origin in dict.fromkeys(one.accuracy_is for one in series):
        words = f"frontier, accuracy {origin}"
        key.append(entry(words, marker=MARKERS[0], markersize=5, markeredgecolor="white"))
        key.append(entry(f"subnets, accuracy {origin}", linestyle="", marker="o", markersize=3, alpha=0.6))
    if any(one.searched is not None for one in series):
        key.append(entry("searched frontier, accuracy predicted", linestyle=(0, (1, 1.2))))
    if counts := [len(one.predicted) for one in series if one.predicted is not None]:
        words = f"{max(counts):,} random subnets, accuracy predicted"
        key.append(entry(words, linestyle="", marker="+", markersize=5))
    if networks:
        key.append(entry("networks given, accuracy as stated", linestyle="", marker="*", markersize=8))
    return key
