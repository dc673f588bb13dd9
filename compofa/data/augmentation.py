"""How training images are varied: by image and epoch alone, so that it is the same whoever makes which part of a batch.

Random resized crop, flip and colour distortion are those of the reference implementations (OFA's and CompOFA's
``build_train_transform`` with ``distort_color = 'tf'``), which take them from torchvision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""

TRIES = 10
"""Crops that are drawn before the middle of the image is taken, as in torchvision."""


@dataclass(frozen=True)
class Augmentation:
    """How much photographs are varied; arrays of small pictures have their own ways.

    Args:
        least_area: of a crop, as a share of the image's; the largest is all of it.
        aspect: width over height of a crop lies between 1 / `aspect` and `aspect`.
        brightness: it is multiplied by 1 - `brightness` to 1 + `brightness`.
        saturation: likewise.
    """

    least_area: float = 0.35
    aspect: float = 1.0
    brightness: float = 0.0
    saturation: float = 0.0

    def crop(self, size: tuple[int, int], rng: np.random.Generator) -> Box:
        """A random part of an image of `size` (width, height)."""
        width, height = size
        for _ in range(TRIES):
            area = width * height * rng.uniform(self.least_area, 1.0)
            ratio = math.exp(rng.uniform(-1, 1) * math.log(self.aspect))
            w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
            if w <= width and h <= height:
                left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
                return left, top, left + w, top + h
        ratio = min(max(width / height, 1 / self.aspect), self.aspect)
        return middle(size, min(width, height * ratio), min(height, width / ratio))

    def recolour(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """`image` in other colours; brightness and saturation change in a random order."""
        from PIL import ImageEnhance

        changes = [(ImageEnhance.Brightness, self.brightness), (ImageEnhance.Color, self.saturation)]
        for which in rng.permutation(len(changes)):
            enhance, strength = changes[which]
            factor = rng.uniform(1 - strength, 1 + strength)
            if strength:
                image = enhance(image).enhance(factor)
        return image


def middle(size: tuple[int, int], width: float, height: float) -> Box:
    """The box of `width` x `height` in the middle of an image of `size`."""
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


@dataclass(frozen=True)
class Augmenter:
    """The augmentation of one epoch.

    Args:
        augmentation: how much.
        seed: of the run.
        epoch: how often the data set had been used up before.
    """

    augmentation: Augmentation
    seed: int
    epoch: int

    def rng(self, index: int) -> np.random.Generator:
        """What image `index` of the data set is varied by."""
        return np.random.default_rng([self.seed, self.epoch, index])
