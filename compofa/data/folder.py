"""A folder of folders of images, one per class: ImageNet as it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from compofa.data.base import class_differences
from compofa.data.photographs import SUFFIXES, PhotographData
from compofa.errors import InputError

LEFT_BEHIND = ("__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that are no classes, beside those whose names begin with a dot."""


class FolderData(PhotographData):
    """A folder of folders of images, one per class.

    Args:
        folder: one split, such as ``PATH/train``.
        class_names: the class folders that there must be, in label order; all that there are, unless given.
        normalisation: see :class:`compofa.data.base.ImageData`.

    Raises:
        InputError: a class folder is missing, too many, hidden, or without images; or there are fewer than two.
    """

    kind = "folder"

    def __init__(
        self, folder: Path, class_names: Sequence[str] | None = None, normalisation: str = "imagenet"
    ) -> None:
        if not folder.is_dir():
            raise InputError(f"no folder {folder}: imagefolder:PATH needs PATH/train and PATH/val")
        where = folder.resolve()
        self.folder = where
        found = _class_folders(folder)
        if class_names is not None and (words := class_differences(class_names, found)):
            raise InputError(f"{folder} {words}: labels would stand for other classes than in training")
        names = tuple(class_names or found)
        if len(names) < 2:
            raise InputError(f"{folder} holds no images in two or more folders, one per class")
        files: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(names):
            images = _images(folder / name)
            files += [f"{name}/{file}" for file in images]
            labels += [label] * len(images)
        super().__init__(
            f"imagefolder:{where.parent.name}/{where.name}", files, np.array(labels), names, normalisation
        )

    def file(self, index: int) -> Path:
        return self.folder / self.files[index]


def _class_folders(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    # What notebooks, archives and file managers leave behind would silently become a class, and shift all labels.
    if hidden := [name for name in names if name.startswith(".") or name in LEFT_BEHIND]:
        raise InputError(f"{folder / hidden[0]} is no class of images: remove it (one folder per class)")
    return names


def _images(folder: Path) -> list[str]:
    names = (entry.name for entry in os.scandir(folder))
    # "._x.jpg" is what macOS keeps beside x.jpg, not an image
    found = sorted(n for n in names if n.lower().endswith(SUFFIXES) and not n.startswith("."))
    if not found:
        raise InputError(f"{folder} holds no images ({', '.join(SUFFIXES)}): fill the class, or remove it")
    return found
