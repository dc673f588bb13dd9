"""Encoded images, decoded when asked for, wherever they lie."""

from __future__ import annotations

import hashlib
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from compofa.data.augmentation import Augmenter
from compofa.data.base import ImageData, Indices, Pixels
from compofa.data.decode import decode, decode_varied
from compofa.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Of what is taken for an image."""
MOST_BROKEN = 100
"""Unreadable images one after the other: then it is not single ones that are broken."""


class PhotographData(ImageData):
    """Encoded images.

    Where augmented images are asked for, for training, the next readable image stands in for one that cannot be read;
    otherwise that is an error, as accuracies on other images are not comparable.

    Args:
        name: as in :class:`ImageData`.
        files: what each image is called.
        labels: (n,) whole numbers.
        class_names: what each label stands for.
        normalisation: see :class:`ImageData`.
    """

    slow = True
    kind: str
    """What the images lie in, in words."""

    def __init__(
        self,
        name: str,
        files: Sequence[str],
        labels: NDArray[np.integer],
        class_names: tuple[str, ...],
        normalisation: str,
    ) -> None:
        self.name, self.files, self.labels = name, files, labels.astype(np.int64)
        self.class_names, self.normalisation = class_names, normalisation
        # On odd metadata and large sizes, which do not matter; what cannot be read is an error.
        warnings.filterwarnings("ignore", module="PIL")

    @abstractmethod
    def file(self, index: int) -> Path | BinaryIO:
        """Image `index`, encoded; a stream says by ``str`` what it is called."""

    @property
    def identity(self) -> str:
        digest = hashlib.sha256("\n".join(self.files).encode("utf-8", "surrogateescape")).hexdigest()
        return f"a {self.kind} of {len(self)} images in {self.classes} classes, names' sha256 {digest[:16]}"

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, indices: Indices, resolution: int, augmenter: Augmenter | None = None) -> Pixels:
        broken: list[str] = []
        if augmenter is None:
            taken = [int(i) for i in indices]
            images = [decode(self.file(i), resolution) for i in taken]
        else:
            pairs = [self._readable(int(i), resolution, augmenter, broken) for i in indices]
            images, taken = [image for image, _ in pairs], [index for _, index in pairs]
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        return Pixels(x, torch.from_numpy(self.labels[taken]), tuple(broken))

    def _readable(
        self, index: int, resolution: int, augmenter: Augmenter, broken: list[str]
    ) -> tuple[NDArray[np.uint8], int]:
        """Image `index`, or the next one that can be read, with its index; adds the others to `broken`."""
        rng = augmenter.rng(index)
        for ahead in range(MOST_BROKEN):
            taken = (index + ahead) % len(self)
            try:
                return decode_varied(self.file(taken), resolution, augmenter.augmentation, rng), taken
            except InputError as error:
                broken.append(self.files[taken])
                last = error
        raise InputError(
            f"{MOST_BROKEN} images one after the other cannot be read, such as: {last}"
        ) from last
