"""Names at the lines that they are of, where there is room; what finds none goes into a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

STEPS = 60
"""Places along a line that are tried."""
GAP = 8.0
"""Between a line and its name, in points."""


@dataclass(frozen=True)
class Label:
    """What is to stand beside a line.

    Args:
        text: of it.
        colour: of it.
        line: points in the axes' data, along the line, shape (n, 2); places near the first are tried first.
    """

    text: str
    colour: str
    line: NDArray[np.float64]


class Room:
    """What of an axes is free, in pixels.

    Args:
        ax: with its limits, scales and layout settled.
        lines: that no name may cover, in the axes' data, each of shape (n, 2).
    """

    def __init__(self, ax: Axes, lines: Sequence[NDArray[np.float64]]) -> None:
        self.ax = ax
        self.point = ax.get_figure(root=True).dpi / 72  # type: ignore[union-attr]  # in pixels
        self.origin = np.array([ax.bbox.x0, ax.bbox.y0])
        self.taken = np.zeros((int(ax.bbox.width), int(ax.bbox.height)), dtype=np.bool_)
        for line in lines:
            at = (_dense(ax.transData.transform(line)) - self.origin).astype(int)
            at = at[((at >= 0) & (at < self.taken.shape)).all(axis=1)]
            self.taken[at[:, 0], at[:, 1]] = True

    def place(self, label: Label) -> bool:
        """Write a name beside its line, right and below, else left and above; False if there is no room."""
        text = self._write(label)
        box = text.get_window_extent()
        size = np.array([box.width, box.height])
        for right in (True, False):
            offset = np.array([GAP, -0.4 * GAP]) * (1 if right else -1)
            for at in _some(label.line, STEPS):
                corner = self.ax.transData.transform(at) + offset * self.point
                low = corner - size * ((0, 1) if right else (1, 0))
                if self._take(low, low + size):
                    text.xy = (float(at[0]), float(at[1]))
                    text.set(ha="left" if right else "right", va="top" if right else "bottom")
                    text.set_position((float(offset[0]), float(offset[1])))
                    return True
        text.remove()
        return False

    def _write(self, label: Label) -> Annotation:
        from matplotlib.patheffects import withStroke

        return self.ax.annotate(
            label.text,
            (float(label.line[0, 0]), float(label.line[0, 1])),
            xytext=(0, 0),
            textcoords="offset points",
            color=label.colour,
            fontsize=8,
            fontweight="bold",
            zorder=7,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )

    def _take(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
        """Take a box, with a margin, if all of it is inside and free."""
        x0, y0 = (low - self.origin - 2 * self.point).astype(int).tolist()
        x1, y1 = (high - self.origin + 2 * self.point).astype(int).tolist()
        if x0 < 0 or y0 < 0 or x1 > self.taken.shape[0] or y1 > self.taken.shape[1]:
            return False
        if self.taken[x0:x1, y0:y1].any():
            return False
        self.taken[x0:x1, y0:y1] = True
        return True


def _some(line: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """At most so many points of a line, evenly among them, from its first on."""
    index = np.unique(np.linspace(0, len(line) - 1, count).round().astype(int))
    return line[index]


def _dense(points: NDArray[np.float64], step: float = 1.0) -> NDArray[np.float64]:
    """Points of a line of straight pieces, none farther from the next than `step`."""
    if len(points) < 2:
        return points
    lengths = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0, along[-1], int(along[-1] / step) + 2)
    return np.column_stack([np.interp(at, along, points[:, i]) for i in (0, 1)])


def stairs(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The corners of a line that keeps its height until the next point, shape (2n - 1, 2)."""
    corners = np.repeat(points, 2, axis=0)[:-1]
    corners[1::2, 0] = points[1:, 0]
    return corners
