"""The colours of all pictures and pages, and what they must keep: told apart by colour-blind readers, in greyscale, and
from the paper or the screen that they are on.

They are near Okabe's and Ito's (Color Universal Design, 2008), with lightness spread so that greyscale keeps them
apart, too. What tells series apart is never colour alone: spaces are named at their lines, devices have markers.
"""

from __future__ import annotations

INK, GREY, PAPER = "#1a1c1f", "#5c6066", "#ffffff"
"""On paper: text, secondary text, background."""
DARK_INK, DARK_GREY, DARK_PAPER = "#eceef1", "#a5abb3", "#15181c"
"""On a dark screen."""
SERIES = ("#00377a", "#c43e00", "#009a80", "#8a5bd0")
"""One a space, on paper: navy, vermilion, bluish green, violet."""
DARK_SERIES = ("#3f87e8", "#ff9a5c", "#a8f0de", "#f7b5ff")
"""The same on a dark screen."""
RAMP = ("#fff7d6", "#fdd98b", "#f2a65a", "#c9623f", "#8a2f3c", "#4a1236")
"""Sequential, light to dark, for heat maps; lightness falls all the way."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One a device."""
