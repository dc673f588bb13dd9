"""The frontiers on several devices in one picture: one colour a space, one marker a device."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from hwbench.direct_labels import Label, Room, stairs
from hwbench.palette import GREY, INK, MARKERS, SERIES

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from hwbench.frontiers.devices import DeviceFrontiers
    from hwbench.plots import NamedPoint
    from lut.costs import CostModel

FAR_APART = 8.0
"""How often the cheapest subnet's cost fits into the dearest one's before the axis becomes logarithmic."""
MOST_MARKERS = 24
"""On a frontier."""
DOTTED = (0, (1, 1.2))


@dataclass(frozen=True)
class Line:
    """A space on a device; arrays are (cost, accuracy), shape (n, 2), by rising cost.

    Args:
        space, device: numbers, which say colour and marker.
        frontier: the subnets that none dominates.
        searched: the frontier of predicted accuracies that a search found, if any.
        accuracy_is: what the accuracies of `frontier` are, ``measured`` or ``predicted``.
    """

    space: int
    device: int
    frontier: NDArray[np.float64]
    searched: NDArray[np.float64] | None = None
    accuracy_is: str = "measured"

    @property
    def colour(self) -> str:
        """Of its space."""
        return SERIES[self.space % len(SERIES)]

    @property
    def marker(self) -> str:
        """Of its device."""
        return MARKERS[self.device]


def check_markers(devices: int) -> None:
    """Raise InputError if there are more devices than markers."""
    if devices > len(MARKERS):
        raise InputError(
            f"a picture tells at most {len(MARKERS)} devices apart, not {devices}: give fewer tables, or take the "
            "numbers (--csv, --json)"
        )


def draw(path: Path | io.BytesIO, result: DeviceFrontiers) -> None:
    """The picture of the comparison."""
    from hwbench import plots
    from hwbench.frontiers.document import accuracy_label, title

    check_markers(len(result.devices))
    devices = list(result.devices.items())
    results = [space for _, one in devices for space in one.spaces]
    spaces = list(dict.fromkeys(space.name for space in results))
    lines = [
        Line(
            spaces.index(space.name),
            number,
            space.shown.frontier().points,
            space.searched.points if space.searched and not space.source else None,
            space.accuracy_is,
        )
        for number, (_, one) in enumerate(devices)
        for space in one.spaces
    ]
    draw_devices(
        path,
        lines=lines,
        spaces=spaces,
        devices=[name for name, _ in devices],
        title=title(results),
        targets=[_target(name, one.cost) for name, one in devices],
        cost=result.cost.label,
        accuracy=accuracy_label(results),
        networks=[
            [
                plots.NamedPoint(network.name, cost, network.accuracy)
                for network, cost in zip(one.networks, one.networks_cost, strict=True)
            ]
            for _, one in devices
        ],
    )


def _target(name: str, cost: CostModel) -> str:
    """Where a device's numbers come from, in a line."""
    known = "" if cost.of.startswith(f"{name} (") else f"{name}: "
    return f"{known}{cost.of}, {cost.provenance}"


def draw_devices(
    path: Path | io.BytesIO,
    *,
    lines: Sequence[Line],
    spaces: Sequence[str],
    devices: Sequence[str],
    title: str,
    targets: Sequence[str],
    cost: str,
    accuracy: str,
    networks: Sequence[Sequence[NamedPoint]] = (),
) -> None:
    """Frontiers of spaces on devices, accuracy over cost; named at the lines where there is room, else in the legend.

    Args:
        path: the file to write.
        lines: at most one for each space and device.
        spaces, devices: their names.
        title: first line above the panel; `targets`, a line for each device, come below it.
        cost, accuracy: what is on the two axes, with its unit.
        networks: of each device: points of their own, by name, with accuracies that somebody states.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    from hwbench.plots import save

    figure = Figure(figsize=(6.8, 5.6), layout="constrained")
    figure.suptitle("\n".join([fill(title, 90), *(fill(target, 125) for target in targets)]), fontsize=7)
    ax = figure.subplots()
    for line in lines:
        _draw_line(ax, line)
    for device, points in enumerate(networks):
        for one in points:
            ax.plot(
                one.cost, 100 * one.accuracy, MARKERS[device], color=INK, markeredgecolor="white", zorder=6
            )
    costs = np.concatenate([line.frontier[:, 0] for line in lines])
    far = costs.min() > 0 and costs.max() > FAR_APART * costs.min()
    if far:
        _logarithmic(ax)
    ax.set(xlabel=f"{cost}, logarithmic" if far else cost, ylabel=accuracy)
    ax.grid(color=GREY, alpha=0.2, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    _name(ax, _names(lines, spaces, devices, networks), _kinds(lines, networks))
    save(figure, path)


def _draw_line(ax: Axes, line: Line) -> None:
    if line.searched is not None:
        x, y = line.searched.T
        ax.step(x, 100 * y, where="post", color=line.colour, linewidth=1, linestyle=DOTTED, zorder=3)
    x, y = line.frontier.T
    ax.step(x, 100 * y, where="post", color=line.colour, linewidth=1.4, zorder=4)
    ax.plot(
        *_spread(ax, line.frontier).T,
        line.marker,
        color=line.colour,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=5,
    )


def _spread(ax: Axes, frontier: NDArray[np.float64]) -> NDArray[np.float64]:
    """Some subnets of a frontier, in per cent, so that their markers do not hide each other."""
    index = np.unique(np.linspace(0, len(frontier) - 1, MOST_MARKERS).round().astype(int))
    return frontier[index] * (1, 100)


def _logarithmic(ax: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


@dataclass(frozen=True)
class Name:
    """A name to write in the picture.

    Args:
        text: of it.
        colour: of it.
        lines: beside any of which it may stand, the best first.
        look: of its entry in the legend, where it finds no room.
    """

    text: str
    colour: str
    lines: Sequence[NDArray[np.float64]]
    look: Mapping[str, Any]


def _names(
    lines: Sequence[Line],
    spaces: Sequence[str],
    devices: Sequence[str],
    networks: Sequence[Sequence[NamedPoint]],
) -> list[Name]:
    """Of the devices, the spaces and the networks, which stand once each."""
    found = []
    for number, device in enumerate(devices):
        mine = [_on_paper(line) for line in lines if line.device == number]
        found.append(Name(device, INK, mine, {"marker": MARKERS[number], "linestyle": "", "markersize": 6}))
    for number, space in enumerate(spaces):
        its = [line for line in lines if line.space == number]
        found.append(Name(space, its[0].colour, [_on_paper(line) for line in its], {"linewidth": 4}))
    points: dict[str, list[NDArray[np.float64]]] = {}
    for one in chain(*networks):
        points.setdefault(one.name, []).append(np.array([[one.cost, 100 * one.accuracy]]))
    look = {"marker": MARKERS[0], "linestyle": "", "fillstyle": "none"}
    return [*found, *(Name(name, GREY, places, look) for name, places in points.items())]


def _on_paper(line: Line) -> NDArray[np.float64]:
    return stairs(line.frontier * (1, 100))


def _name(ax: Axes, names: Sequence[Name], kinds: Sequence[Artist]) -> None:
    """Write each name at a line of its own, and a legend of those without room. A longer legend leaves the lines less
    room: then all are placed anew."""
    from matplotlib.lines import Line2D

    figure = ax.get_figure(root=True)
    assert figure
    nameless: list[Name] = []
    while True:
        entries = [Line2D([], [], color=n.colour, label=n.text, **n.look) for n in nameless]
        legend = figure.legend(
            handles=[*entries, *kinds], loc="outside lower center", ncols=2, frameon=False, fontsize=8
        )
        figure.draw_without_rendering()  # settles the layout: now there are pixels to measure names in
        room = Room(ax, [np.column_stack(line.get_data()) for line in ax.get_lines()])
        missing = [name for name in names if name not in nameless and not _find_room(room, name)]
        if not missing:
            return
        nameless += missing
        legend.remove()
        for text in list(ax.texts):
            text.remove()


def _find_room(room: Room, name: Name) -> bool:
    return any(room.place(Label(fill(name.text, 30), name.colour, line)) for line in name.lines)


def _kinds(lines: Sequence[Line], networks: Sequence[Sequence[NamedPoint]]) -> list[Artist]:
    """What lines and points mean on any device and in any colour; only those that there are."""
    from matplotlib.lines import Line2D

    found: list[Artist] = [
        Line2D([], [], color=INK, linewidth=1.4, label=f"frontier, accuracy {origin}")
        for origin in dict.fromkeys(line.accuracy_is for line in lines)
    ]
    if any(line.searched is not None for line in lines):
        words = "searched frontier, accuracy predicted"
        found.append(Line2D([], [], color=INK, linestyle=DOTTED, label=words))
    if any(networks):
        look: dict[str, Any] = {"marker": MARKERS[0], "linestyle": "", "markeredgecolor": "white"}
        found.append(Line2D([], [], color=INK, label="networks given, accuracy as stated", **look))
    return found
