"""Pictures held against checked-in ones: small, compared with a tolerance, since fonts differ a little between
versions. ``HWBENCH_NEW_PICTURES=1`` writes what is there now as the new reference; look at it before you commit it."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

FOLDER = Path(__file__).parents[1] / "hwbench" / "pictures"
WIDTH = 360
MOST_DIFFERENCE = 0.15
"""Of the ink of both: text that is moved by a pixel makes 0.1, a series that is missing 0.2 and more."""


def assert_as_before(picture: Path, name: str) -> None:
    """Fails unless `picture` is the reference `name`, nearly."""
    with Image.open(picture) as image:
        small = image.convert("RGB")
        small = small.resize((WIDTH, round(small.height * WIDTH / small.width)), Image.Resampling.LANCZOS)
    reference = FOLDER / f"{name}.png"
    if os.environ.get("HWBENCH_NEW_PICTURES"):
        small.save(reference, optimize=True)
        return
    with Image.open(reference) as image:
        expected = np.asarray(image.convert("RGB"), dtype=float)
    found = np.asarray(small, dtype=float)
    assert found.shape == expected.shape, f"{picture}: {found.shape}, not {expected.shape}"
    ink = 255 - np.minimum(found, expected)
    share = float(np.abs(found - expected).sum() / ink.sum())
    assert share < MOST_DIFFERENCE, f"{picture} differs from {reference} in {100 * share:.0f} % of its ink"


def words(figure: Figure) -> dict[str, tuple[float, float, float, float]]:
    """Where each text of a figure stands: left, bottom, right, top in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = _beyond(figure)
    boxes = {}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in hidden:
            box = text.get_window_extent(canvas.get_renderer())
            boxes[text.get_text() + f" {len(boxes)}"] = (box.x0, box.y0, box.x1, box.y1)
    return boxes


def _beyond(figure: Figure) -> set[Text]:
    """Labels of ticks outside the limits of their axis, which are there but not drawn."""
    found = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                found |= {tick.label1, tick.label2}
    return found


def assert_readable(figure: Figure) -> None:
    """Fails if a text is cut by the figure's edge, or two cover each other."""
    width, height = figure.bbox.width, figure.bbox.height
    boxes = words(figure)
    for name, (left, bottom, right, top) in boxes.items():
        assert left >= -1 and bottom >= -1 and right <= width + 1 and top <= height + 1, f"{name!r} is cut"
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        apart = a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] + 1 or b[3] <= a[1] + 1
        assert apart, f"{one!r} covers {other!r}"
