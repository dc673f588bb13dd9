"""`glyphs`: 62 letters and digits drawn with the fonts that matplotlib ships.

Each image is one character, rotated up to 30 degrees, sheared, scaled, shifted and coloured, over a
cluttered background, with noise. Image `i` of a split depends on nothing but the split, the seed and `i`.
The test split's faces are never used for training.
"""

from __future__ import annotations

import functools
import os
import string
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from compofa.files import replacing
from compofa.home import home
from compofa.stopping import leave_to_parent

CLASSES = string.digits + string.ascii_uppercase + string.ascii_lowercase
SIDE = 36
"""Side of a rendered image: the largest resolution and a margin for random crops."""
SUPERSAMPLING = 2
VERSION = 1
"""Raise whenever a pixel could come out different: it names the cache and dates shipped accuracies."""

FACES = {
    "train": (
        "DejaVuSans",
        "DejaVuSans-Bold",
        "DejaVuSans-Oblique",
        "DejaVuSansMono",
        "DejaVuSansMono-Oblique",
        "DejaVuSerif",
        "DejaVuSerif-Italic",
        "DejaVuSerif-Bold",
        "STIXGeneral",
        "STIXGeneralBol",
        "cmr10",
        "cmss10",
        "cmmi10",
    ),
    "test": (
        "DejaVuSans-BoldOblique",
        "DejaVuSansMono-Bold",
        "DejaVuSansMono-BoldOblique",
        "DejaVuSerif-BoldItalic",
        "STIXGeneralItalic",
        "STIXGeneralBolIta",
        "cmb10",
        "cmti10",
        "cmtt10",
    ),
}


@functools.cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    # the basic engine: Raqm is not part of every Pillow and would shape glyphs differently
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _colours(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Background and ink, at least 100 of 255 apart in luma."""
    luma = np.array([0.299, 0.587, 0.114])
    while True:
        pair = rng.integers(0, 256, (2, 3))
        if abs(float(luma @ (pair[0] - pair[1]))) > 100:
            return tuple(pair[0].tolist()), tuple(pair[1].tolist())


def _clutter(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int, strokes: int) -> None:
    """Lines and ellipses in random colours."""
    for _ in range(strokes):
        box = rng.integers(-side // 4, side + side // 4, 4)
        colour = tuple(rng.integers(0, 256, 3).tolist())
        if rng.random() < 0.5:
            draw.line(box.tolist(), fill=colour, width=int(rng.integers(1, 4)))
        else:
            box = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
            draw.ellipse(box.tolist(), outline=colour, width=int(rng.integers(1, 4)))


def _glyph_mask(character: str, face: str, rng: np.random.Generator, side: int) -> Image.Image:
    """The character's coverage, transformed, shape (side, side)."""
    font = _font(face, int(rng.integers(round(0.6 * side), round(0.9 * side))))
    mask = Image.new("L", (side, side))
    left, top, right, bottom = font.getbbox(character)
    ImageDraw.Draw(mask).text(
        ((side - left - right) / 2, (side - top - bottom) / 2), character, fill=255, font=font
    )
    angle, shear = rng.uniform(-np.pi / 6, np.pi / 6), rng.uniform(-0.3, 0.3)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, shear], [0.0, 1.0]])
    centre = np.array([side / 2, side / 2])
    offset = centre - matrix @ (centre + rng.uniform(-0.1, 0.1, 2) * side)
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    return mask.transform(
        (side, side), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR
    )


def render(split: str, seed: int, index: int) -> tuple[NDArray[np.uint8], int]:
    """Image `index` of a split, shape (SIDE, SIDE, 3), and its class."""
    rng = np.random.default_rng([seed, sorted(FACES).index(split), index])
    label = int(rng.integers(len(CLASSES)))
    face = FACES[split][rng.integers(len(FACES[split]))]
    side = SIDE * SUPERSAMPLING
    background, ink = _colours(rng)
    image = Image.new("RGB", (side, side), background)
    draw = ImageDraw.Draw(image)
    _clutter(draw, rng, side, int(rng.integers(1, 4)))
    image.paste(ink, (0, 0, side, side), _glyph_mask(CLASSES[label], face, rng, side))
    _clutter(draw, rng, side, int(rng.integers(0, 2)))
    pixels = np.asarray(image.reduce(SUPERSAMPLING), dtype=np.float32)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(0, 20)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8), label


def _render_range(split: str, seed: int, indices: Sequence[int]) -> tuple[NDArray[np.uint8], list[int]]:
    images, labels = zip(*(render(split, seed, index) for index in indices), strict=True)
    return np.stack(images), list(labels)


def load(split: str, count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first `count` images of a split, shape (count, SIDE, SIDE, 3), and their labels.

    Rendered on all cores the first time, then read from the cache.
    """
    path = home() / "data" / f"glyphs-v{VERSION}-{split}-{seed}-{count}.npz"
    if (cached := _read_cache(path, count)) is not None:
        return cached
    chunks = [range(start, min(start + 500, count)) for start in range(0, count, 500)]
    workers = min(os.cpu_count() or 1, len(chunks))
    with ProcessPoolExecutor(workers, initializer=leave_to_parent) as pool:
        parts = list(pool.map(_render_range, [split] * len(chunks), [seed] * len(chunks), chunks))
    images = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts]).astype(np.int64)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        np.savez(beside, images=images, labels=labels)
    return images, labels


def _read_cache(path: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """What :func:`load` kept in `path`; None if there is nothing, or it is damaged: then it is rendered anew."""
    try:
        with np.load(path) as cached:
            images, labels = cached["images"], cached["labels"]
    except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    whole = images.shape == (count, SIDE, SIDE, 3) and labels.shape == (count,)
    return (images, labels) if whole else None
