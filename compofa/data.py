"""Data sets: images that come out at any resolution, by name (`glyphs`, `digits`, `imagefolder:PATH`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from compofa.errors import InputError

Indices = Sequence[int] | NDArray[np.int64]

GLYPHS_TRAIN_IMAGES = 32_000
GLYPHS_TEST_IMAGES = 2_480


class ImageData(ABC):
    """One split of a data set.

    Attributes:
        name: what the split is called in logs and shipped figures.
        classes: how many labels there are.
    """

    name: str
    classes: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(
        self, indices: Indices, resolution: int, rng: np.random.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images (n, 3, resolution, resolution), zero mean and about unit variance, channels last in
        memory, and labels (n,). With `rng` the images are augmented; without, they are always the same."""


class ArrayData(ImageData):
    """Images held in memory as bytes.

    Args:
        name: as in :class:`ImageData`.
        images: shape (n, side, side, 3).
        labels: shape (n,).
        classes: how many labels there are.
        margin: pixels of `side` that a crop leaves out: cropped from the middle, or at random to augment.
    """

    def __init__(
        self,
        name: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        classes: int,
        margin: int,
    ) -> None:
        self.name, self.classes, self.margin = name, classes, margin
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, indices: Indices, resolution: int, rng: np.random.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        side = self.images.shape[1] - self.margin
        pixels = self.images[indices]
        top, left = (self.margin // 2,) * 2 if rng is None else rng.integers(0, self.margin + 1, 2)
        pixels = pixels[:, top : top + side, left : left + side]
        if rng is not None:
            pixels = pixels[..., rng.permutation(3)]  # colours carry no meaning here
        x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
        return _scale(x, resolution), torch.from_numpy(self.labels[indices])


def _scale(x: Tensor, resolution: int) -> Tensor:
    """Bytes (n, 3, side, side) as standardised floats at `resolution`."""
    if x.shape[-1] != resolution:
        x = F.interpolate(x, (resolution, resolution), mode="bilinear", antialias=True, align_corners=False)
    return ((x - 127.5) / 64.0).contiguous(memory_format=torch.channels_last)


class FolderData(ImageData):
    """A folder of folders of images, one per class, decoded when asked for.

    Augmented images are a random crop of 35-100 % of the area and may be mirrored; others are the middle
    of the image, resized so that the crop is 87.5 % of its shorter side.

    Args:
        folder: one split, such as ``PATH/train``.
        classes: the class folders' names, in label order.

    Raises:
        ValueError: the folder holds no images in class folders.
    """

    SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

    def __init__(self, folder: Path, workers: int = 8) -> None:
        if not folder.is_dir():
            raise InputError(f"no folder {folder}: imagefolder:PATH needs PATH/train and PATH/val")
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        self.files = [
            (file, label)
            for label, name in enumerate(names)
            for file in sorted((folder / name).iterdir())
            if file.suffix.lower() in self.SUFFIXES
        ]
        if not self.files:
            raise InputError(f"{folder} holds no images: there should be one folder per class")
        self.name, self.classes = f"imagefolder:{folder}", len(names)
        self.pool = ThreadPoolExecutor(workers)

    def __len__(self) -> int:
        return len(self.files)

    def batch(
        self, indices: Indices, resolution: int, rng: np.random.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        seeds = [None] * len(indices) if rng is None else rng.integers(0, 2**63, len(indices)).tolist()
        files = [self.files[i] for i in indices]
        pixels = list(self.pool.map(_decode, [f for f, _ in files], [resolution] * len(files), seeds))
        x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
        return _scale(x, resolution), torch.tensor([label for _, label in files])


def _decode(file: Path, resolution: int, seed: int | None) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(file) as opened:
        image = opened.convert("RGB")
    if seed is None:
        side = 0.875 * min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
    else:
        rng = np.random.default_rng(seed)
        side = min(image.size) * float(np.sqrt(rng.uniform(0.35, 1.0)))
        left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
        box = (left, top, left + side, top + side)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    resized = image.resize((resolution, resolution), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    return np.asarray(resized)


def _digits(split: str) -> ArrayData:
    """scikit-learn's 8x8 digits enlarged four times: 1,437 to train on, 360 to test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
    images = np.repeat(np.repeat(images, 4, axis=1), 4, axis=2)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., None].repeat(3, axis=-1)
    order = np.random.default_rng(0).permutation(len(images))
    chosen = order[360:] if split == "train" else order[:360]
    return ArrayData(f"digits-{split}", images[chosen], digits.target[chosen].astype(np.int64), 10, 4)


def _glyphs(split: str) -> ArrayData:
    from compofa import glyphs

    count = GLYPHS_TRAIN_IMAGES if split == "train" else GLYPHS_TEST_IMAGES
    images, labels = glyphs.load(split, count)
    return ArrayData(f"glyphs-v{glyphs.VERSION}-{split}", images, labels, len(glyphs.CLASSES), margin=4)


def load_data(name: str, split: str) -> ImageData:
    """The `train` or `test` split of `glyphs`, `digits` or `imagefolder:PATH` (whose test split is ``val``).

    Raises:
        ValueError: there is no such data set.
    """
    kind, _, path = name.partition(":")
    if kind == "imagefolder" and path:
        return FolderData(Path(path) / ("train" if split == "train" else "val"))
    if name == "glyphs":
        return _glyphs(split)
    if name == "digits":
        return _digits(split)
    raise InputError(f"unknown data {name!r}; there are glyphs, digits, imagefolder:PATH")
