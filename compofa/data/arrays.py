"""Small pictures that are held in memory, and the two data sets of them that come with the package."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from compofa.data.augmentation import Augmenter
from compofa.data.base import ImageData, Indices, Pixels

GLYPHS_TRAIN_IMAGES = 32_000
GLYPHS_TEST_IMAGES = 2_480


class ArrayData(ImageData):
    """Images held in memory as bytes. Augmented ones are cropped at random, and their colours change places.

    Args:
        name: as in :class:`ImageData`.
        images: shape (n, side, side, 3).
        labels: shape (n,).
        class_names: what each label stands for.
        margin: pixels of `side` that a crop leaves out: cropped from the middle, or at random to augment.
    """

    def __init__(
        self,
        name: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        class_names: Sequence[str],
        margin: int,
    ) -> None:
        self.name, self.class_names, self.margin = name, tuple(class_names), margin
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, indices: Indices, resolution: int, augmenter: Augmenter | None = None) -> Pixels:
        if augmenter is None:
            cropped = self._crop(self.images[indices], self.margin // 2, self.margin // 2)
        else:
            cropped = np.stack([self._varied(i, augmenter.rng(i)) for i in map(int, indices)])
        x = torch.from_numpy(np.ascontiguousarray(cropped)).permute(0, 3, 1, 2).float()
        if x.shape[-1] != resolution:
            x = F.interpolate(
                x, (resolution, resolution), mode="bilinear", antialias=True, align_corners=False
            )
        return Pixels(x, torch.from_numpy(self.labels[indices]))

    def _varied(self, index: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        top, left = rng.integers(0, self.margin + 1, 2)
        # colours carry no meaning here
        return self._crop(self.images[index], top, left)[..., rng.permutation(3)]

    def _crop(self, images: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8]:
        side = self.images.shape[1] - self.margin
        return images[..., top : top + side, left : left + side, :]


def digits(split: str) -> ArrayData:
    """scikit-learn's 8x8 digits enlarged four times: 1,437 to train on, 360 to test."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.clip(found.images * 16, 0, 255).astype(np.uint8)
    images = np.repeat(np.repeat(images, 4, axis=1), 4, axis=2)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., None].repeat(3, axis=-1)
    order = np.random.default_rng(0).permutation(len(images))
    chosen = order[360:] if split == "train" else order[:360]
    return ArrayData(
        f"digits-{split}", images[chosen], found.target[chosen].astype(np.int64), "0123456789", 4
    )


def glyphs(split: str) -> ArrayData:
    """Letters and digits in many faces (:mod:`compofa.glyphs`)."""
    from compofa import glyphs

    count = GLYPHS_TRAIN_IMAGES if split == "train" else GLYPHS_TEST_IMAGES
    images, labels = glyphs.load(split, count)
    return ArrayData(f"glyphs-v{glyphs.VERSION}-{split}", images, labels, glyphs.CLASSES, margin=4)
