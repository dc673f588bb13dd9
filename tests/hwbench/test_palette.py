"""Colours are told apart by colour-blind readers, in greyscale, and from what they are on."""

from itertools import pairwise

import pytest

from hwbench import palette
from tests.helpers import colour_vision

SPACES = 3
"""That there are: their colours must do without markers."""
BOTH = pytest.mark.parametrize(
    ("colours", "paper"), [(palette.SERIES, palette.PAPER), (palette.DARK_SERIES, palette.DARK_PAPER)]
)


def test_white_on_black_is_the_most():
    assert colour_vision.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert colour_vision.difference("#000000", "#ffffff") == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    ("one", "other", "deficiency"),
    [("#b07a00", "#7d9a00", "deuteranopia"), ("#8a8a00", "#c06a00", "protanopia")],
)
def test_what_some_cannot_tell_apart_is_found(one, other, deficiency):
    assert colour_vision.difference(one, other, deficiency) < 0.6 * colour_vision.difference(one, other)


@BOTH
def test_lines_stand_out_from_the_paper(colours, paper):
    assert all(colour_vision.contrast(colour, paper) >= 3 for colour in colours)


@BOTH
@pytest.mark.parametrize("deficiency", [None, *colour_vision.CVD])
def test_series_are_told_apart(colours, paper, deficiency):
    assert colour_vision.least_difference(colours[:SPACES], deficiency) >= 30
    assert colour_vision.least_difference(colours, deficiency) >= 20


@BOTH
def test_greyscale_keeps_the_spaces_apart(colours, paper):
    shades = sorted(map(colour_vision.lightness, colours[:SPACES]))
    assert all(b - a >= 10 for a, b in pairwise(shades))


def test_text_is_read():
    for ink in (palette.INK, palette.GREY):
        assert colour_vision.contrast(ink, palette.PAPER) >= 4.5
    for ink in (palette.DARK_INK, palette.DARK_GREY):
        assert colour_vision.contrast(ink, palette.DARK_PAPER) >= 4.5


def test_heat_maps_darken_all_the_way():
    shades = list(map(colour_vision.lightness, palette.RAMP))
    assert all(a - b >= 8 for a, b in pairwise(shades))
