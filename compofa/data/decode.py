"""From a file to an image of the wanted side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from compofa.data.augmentation import Augmentation, Box, middle
from compofa.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

File = Path | BinaryIO
"""An encoded image; ``str`` of it is what it is called in errors."""

MIDDLE = 0.875
"""Of the shorter side: what is looked at where nothing is random, as the reference implementations do."""


def decode(file: File, resolution: int) -> NDArray[np.uint8]:
    """The middle of an image, (resolution, resolution, 3).

    Raises:
        InputError: it is broken, or has no such form; names the file.
    """
    from PIL import Image

    with _naming(file), Image.open(file) as opened:
        side = MIDDLE * min(opened.size)
        image = _as_rgb(opened, file)
        return np.asarray(_resized(image, resolution, middle(image.size, side, side)))


def decode_varied(
    file: File, resolution: int, augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A random part of an image in random colours, maybe mirrored, (resolution, resolution, 3). Of a JPEG no more
    pixels are decoded than that takes.

    Raises:
        InputError: it is broken, or has no such form; names the file.
    """
    from PIL import Image

    with _naming(file), Image.open(file) as opened:
        size = opened.size
        box = augmentation.crop(size, rng)
        # "draft" decodes to a half, a quarter or an eighth, and never below what is asked for
        opened.draft(None, _least_size(size, box, resolution))
        scale = (opened.width / size[0], opened.height / size[1])
        left, top, right, bottom = box
        part = (left * scale[0], top * scale[1], right * scale[0], bottom * scale[1])
        image = augmentation.recolour(_resized(_as_rgb(opened, file), resolution, part), rng)
        pixels = np.asarray(image)
        return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def _least_size(size: tuple[int, int], box: Box, resolution: int) -> tuple[int, int]:
    """Of the whole image, such that the box still has `resolution` pixels each way."""
    width, height = (
        math.ceil(whole * resolution / max(part, 1.0))
        for whole, part in ((size[0], box[2] - box[0]), (size[1], box[3] - box[1]))
    )
    return width, height


def _resized(image: Image.Image, resolution: int, box: Box) -> Image.Image:
    from PIL import Image

    # by rounding it may stand out by some billionths of a pixel, which Pillow refuses
    left, top, right, bottom = box
    inside = (max(left, 0.0), max(top, 0.0), min(right, image.width), min(bottom, image.height))
    return image.resize((resolution, resolution), Image.Resampling.BILINEAR, box=inside, reducing_gap=2.0)


class _naming:
    """Around Pillow's decoders, which raise whatever a broken file makes them stumble over."""

    def __init__(self, file: File) -> None:
        self.file = file

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, InputError):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{self.file} cannot be read as an image: {reason}") from error


def _as_rgb(opened: Image.Image, file: File) -> Image.Image:
    """8-bit RGB, on white where it is transparent."""
    from PIL import Image

    opened.load()
    if opened.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to white
        grey = np.asarray(opened).astype(np.int64)
        if grey.min() < 0 or grey.max() > 0xFFFF:
            raise InputError(f"{file} has more than 16 bits a pixel: save it with 8")
        return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
    if opened.mode == "F":
        raise InputError(f"{file} has floating-point pixels: save it with 8 bits")
    if opened.has_transparency_data:
        image = opened.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return opened.convert("RGB")
