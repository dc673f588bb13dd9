"""A folder of folders of images, one per class: ImageNet as it is."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from compofa.data.augmentation import Augmenter
from compofa.data.base import ImageData, Indices, Pixels, class_differences
from compofa.data.decode import decode, decode_varied
from compofa.errors import InputError

LEFT_BEHIND = ("__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that are no classes, beside those whose names begin with a dot."""


MOST_BROKEN = 100
"""Unreadable images one after the other: then it is not single ones that are broken."""


class FolderData(ImageData):
    """A folder of folders of images, one per class, decoded when asked for.

    Where augmented images are asked for, for training, the next readable image stands in for one that cannot be read;
    otherwise that is an error, as accuracies on other images are not comparable.

    Args:
        folder: one split, such as ``PATH/train``.
        class_names: the class folders that there must be, in label order; all that there are, unless given.
        normalisation: see :class:`ImageData`.

    Raises:
        InputError: a class folder is missing, too many, hidden, or without images; or there are fewer than two.
    """

    SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
    slow = True

    def __init__(
        self, folder: Path, class_names: Sequence[str] | None = None, normalisation: str = "imagenet"
    ) -> None:
        if not folder.is_dir():
            raise InputError(f"no folder {folder}: imagefolder:PATH needs PATH/train and PATH/val")
        where = folder.resolve()
        self.folder, self.name = where, f"imagefolder:{where.parent.name}/{where.name}"
        self.normalisation = normalisation
        found = _class_folders(folder)
        if class_names is not None and (words := class_differences(class_names, found)):
            raise InputError(f"{folder} {words}: labels would stand for other classes than in training")
        self.class_names = tuple(class_names or found)
        if len(self.class_names) < 2:
            raise InputError(f"{folder} holds no images in two or more folders, one per class")
        self.files: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(self.class_names):
            files = _images(folder / name, self.SUFFIXES)
            self.files += [f"{name}/{file}" for file in files]
            labels += [label] * len(files)
        self.labels = np.array(labels, dtype=np.int64)
        # On odd metadata and large sizes, which do not matter; what cannot be read is an error.
        warnings.filterwarnings("ignore", module="PIL")

    @property
    def identity(self) -> str:
        digest = hashlib.sha256("\n".join(self.files).encode("utf-8", "surrogateescape")).hexdigest()
        return f"a folder of {len(self)} images in {self.classes} classes, names' sha256 {digest[:16]}"

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, indices: Indices, resolution: int, augmenter: Augmenter | None = None) -> Pixels:
        broken: list[str] = []
        if augmenter is None:
            taken = [int(i) for i in indices]
            images = [decode(self.folder / self.files[i], resolution) for i in taken]
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
                file = self.folder / self.files[taken]
                return decode_varied(file, resolution, augmenter.augmentation, rng), taken
            except InputError as error:
                broken.append(self.files[taken])
                last = error
        raise InputError(
            f"{MOST_BROKEN} images one after the other cannot be read, such as: {last}"
        ) from last


def _class_folders(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    # What notebooks, archives and file managers leave behind would silently become a class, and shift all labels.
    if hidden := [name for name in names if name.startswith(".") or name in LEFT_BEHIND]:
        raise InputError(f"{folder / hidden[0]} is no class of images: remove it (one folder per class)")
    return names


def _images(folder: Path, suffixes: Sequence[str]) -> list[str]:
    names = (entry.name for entry in os.scandir(folder))
    # "._x.jpg" is what macOS keeps beside x.jpg, not an image
    found = sorted(n for n in names if n.lower().endswith(tuple(suffixes)) and not n.startswith("."))
    if not found:
        raise InputError(f"{folder} holds no images ({', '.join(suffixes)}): fill the class, or remove it")
    return found
