"""What a data set is: images by index, at any resolution, with labels that have names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compofa.data.augmentation import Augmenter

Indices = Sequence[int] | NDArray[np.int64]

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "plain": ((127.5,) * 3, (64.0,) * 3),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""Name -> mean and standard deviation of the red, green and blue bytes. Networks that others published for ImageNet
expect the second."""


class Pixels(NamedTuple):
    """Images as they leave a data set.

    Args:
        images: (n, 3, side, side), 0 to 255, bytes or floats.
        labels: (n,).
        broken: files in whose place others stand.
    """

    images: Tensor
    labels: Tensor
    broken: tuple[str, ...] = ()


class ImageData(ABC):
    """One split of a data set.

    Attributes:
        name: what the split is called in logs and shipped figures.
        class_names: what each label stands for.
        normalisation: a name in :data:`NORMALISATIONS`.
        slow: making a batch takes long enough that it should be made ahead, by other processes.
    """

    name: str
    class_names: tuple[str, ...]
    normalisation = "plain"
    slow = False

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return len(self.class_names)

    @property
    def identity(self) -> str:
        """The images, wherever they lie: what a run that is resumed must have in common with its beginning."""
        return self.name

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def pixels(self, indices: Indices, resolution: int, augmenter: Augmenter | None = None) -> Pixels:
        """Images and labels. Without an augmenter the images are always the same.

        Raises:
            InputError: an image cannot be read.
        """

    def standardise(self, images: Tensor) -> Tensor:
        """:attr:`Pixels.images` as floats of about zero mean and unit variance, on the same device, channels last in
        memory."""
        mean, std = (
            torch.tensor(values, device=images.device).view(3, 1, 1)
            for values in NORMALISATIONS[self.normalisation]
        )
        return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)

    def batch(
        self, indices: Indices, resolution: int, augmenter: Augmenter | None = None
    ) -> tuple[Tensor, Tensor]:
        """Standardised images (n, 3, resolution, resolution) and labels (n,); see :meth:`pixels`."""
        pixels = self.pixels(indices, resolution, augmenter)
        return self.standardise(pixels.images), pixels.labels


def class_differences(wanted: Sequence[str], found: Sequence[str]) -> str:
    """How the classes that were found differ from those that were wanted, in words; empty if they do not."""
    parts = (("lacks", set(wanted) - set(found)), ("has", set(found) - set(wanted)))
    words = [f"{verb} {_some(names)}" for verb, names in parts if names]
    return " and ".join(words) + (", which training did not have" if parts[1][1] else "")


def _some(names: set[str]) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:3])
    return (
        f"the class {shown}"
        if len(names) == 1
        else f"{len(names)} classes ({shown}{' ...' * (len(names) > 3)})"
    )
