"""Data sets by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compofa.data.arrays import digits, glyphs
from compofa.data.base import ImageData, class_differences
from compofa.data.folder import FolderData
from compofa.data.shards import ShardData, find_shards
from compofa.errors import InputError

_ARRAYS = {"glyphs": glyphs, "digits": digits}


def load_data(
    name: str, split: str, class_names: Sequence[str] | None = None, normalisation: str = "imagenet"
) -> ImageData:
    """The `train` or `test` split of `glyphs`, `digits`, `imagefolder:PATH` (whose test split is ``val``) or
    `webdataset:PATTERN` (:class:`compofa.data.shards.ShardData`).

    Args:
        name: of the data set.
        split: ``train`` or ``test``.
        class_names: what the labels must stand for, as in the training split; None takes what is there.
        normalisation: of photographs; the small pictures have one.

    Raises:
        InputError: there is no such data set, or it has other classes.
        Unavailable: a library that it needs is not installed.
    """
    kind, _, path = name.partition(":")
    if kind == "imagefolder" and path:
        folder = Path(path) / ("train" if split == "train" else "val")
        return FolderData(folder, class_names, normalisation)
    if kind == "webdataset" and path:
        return ShardData(path, split, class_names, normalisation)
    if name not in _ARRAYS:
        raise InputError(
            f"unknown data {name!r}; there are glyphs, digits, imagefolder:PATH, webdataset:PATTERN"
        )
    data = _ARRAYS[name](split)
    if class_names is not None and data.class_names != tuple(class_names):
        raise InputError(f"{name} {class_differences(class_names, data.class_names)}")
    return data


def absolute_name(name: str) -> str:
    """The name of a data set, such that it means the same from every folder."""
    kind, _, path = name.partition(":")
    return f"{kind}:{Path(path).resolve()}" if kind in ("imagefolder", "webdataset") and path else name


def is_there(name: str) -> bool:
    """Whether the data set lies where its name says; always so for one that comes with the package."""
    kind, _, path = name.partition(":")
    if kind != "webdataset":
        return not path or Path(path).is_dir()
    try:
        return bool(find_shards(path, "test"))
    except InputError:
        return False
