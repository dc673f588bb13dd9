"""Some of the images of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compofa.data.augmentation import Augmenter
from compofa.data.base import ImageData, Indices, Pixels


class Part(ImageData):
    """The images at `chosen` places of `data`, in that order."""

    def __init__(self, data: ImageData, chosen: Sequence[int]) -> None:
        self.data, self.chosen = data, np.asarray(chosen, dtype=np.int64)
        self.name, self.class_names = f"{len(self.chosen)} of {data.name}", data.class_names
        self.normalisation, self.slow = data.normalisation, data.slow

    def __len__(self) -> int:
        return len(self.chosen)

    def pixels(self, indices: Indices, resolution: int, augmenter: Augmenter | None = None) -> Pixels:
        return self.data.pixels(self.chosen[list(indices)], resolution, augmenter)
