"""How far apart two colours are, for those who see all of them and for those who do not."""

from __future__ import annotations

from collections.abc import Sequence

Rgb = tuple[float, float, float]


def parse(colour: str) -> Rgb:
    """Red, green and blue from 0 to 1 of a colour such as ``#0072b2``."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1 (WCAG 2.2)."""
    red, green, blue = map(_linear, parse(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2: 4.5 for text, 3 for graphics)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


CVD: dict[str, tuple[Rgb, Rgb, Rgb]] = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
"""What eyes without one kind of cone see, on linear light (Machado, Oliveira, Fernandes 2009, severity 1)."""


def seen_with(colour: str, deficiency: str | None) -> Rgb:
    """Linear red, green and blue as seen with a deficiency of :data:`CVD`; None for none."""
    linear = tuple(map(_linear, parse(colour)))
    if deficiency is None:
        return linear[0], linear[1], linear[2]
    seen = [
        min(max(sum(a * b for a, b in zip(row, linear, strict=True)), 0.0), 1.0) for row in CVD[deficiency]
    ]
    return seen[0], seen[1], seen[2]


def _lab(rgb: Rgb) -> Rgb:
    """CIELAB, D65, of linear light."""
    white = (0.95047, 1.0, 1.08883)
    rows = (
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    )
    xyz = [sum(a * b for a, b in zip(row, rgb, strict=True)) / w for row, w in zip(rows, white, strict=True)]
    x, y, z = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: str, other: str, deficiency: str | None = None) -> float:
    """Distance of two colours in CIELAB as seen with a deficiency: 2 is just seen, 20 is plain."""
    pairs = zip(_lab(seen_with(one, deficiency)), _lab(seen_with(other, deficiency)), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) ** 0.5


def lightness(colour: str) -> float:
    """CIELAB lightness, 0 to 100: what greyscale keeps."""
    return _lab(seen_with(colour, None))[0]


def least_difference(colours: Sequence[str], deficiency: str | None = None) -> float:
    """Of the two that are most alike."""
    pairs = [(a, b) for i, a in enumerate(colours) for b in colours[i + 1 :]]
    return min(difference(a, b, deficiency) for a, b in pairs)
