"""Data sets: images that come out at any resolution, by name (`glyphs`, `digits`, `imagefolder:PATH`)."""

from __future__ import annotations

import hashlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from compofa.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

Indices = Sequence[int] | NDArray[np.int64]

GLYPHS_TRAIN_IMAGES = 32_000
GLYPHS_TEST_IMAGES = 2_480
LEFT_BEHIND = ("__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that are no classes, beside those whose names begin with a dot."""


class ImageData(ABC):
    """One split of a data set.

    Attributes:
        name: what the split is called in logs and shipped figures.
        class_names: what each label stands for.
    """

    name: str
    class_names: tuple[str, ...]

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
    def batch(
        self,
        indices: Indices,
        resolution: int,
        rng: np.random.Generator | None = None,
        share: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Images (n, 3, resolution, resolution), zero mean and about unit variance, channels last in
        memory, and labels (n,). With `rng` the images are augmented; without, they are always the same.

        Args:
            indices: of the whole batch.
            resolution: in pixels.
            rng: draws the same for the whole batch, whatever the share.
            share: the part of the batch that is made, as when several processes divide it.
        """


class ArrayData(ImageData):
    """Images held in memory as bytes.

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

    def batch(
        self,
        indices: Indices,
        resolution: int,
        rng: np.random.Generator | None = None,
        share: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        indices = indices[share]
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
        class_names: the class folders that there must be, in label order; all that there are, unless given.
        workers: threads that decode.

    Raises:
        InputError: a class folder is missing, too many, hidden, or without images; or there are fewer than two.
    """

    SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

    def __init__(self, folder: Path, class_names: Sequence[str] | None = None, workers: int = 8) -> None:
        if not folder.is_dir():
            raise InputError(f"no folder {folder}: imagefolder:PATH needs PATH/train and PATH/val")
        where = folder.resolve()
        self.folder, self.name = where, f"imagefolder:{where.parent.name}/{where.name}"
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
        self.pool = ThreadPoolExecutor(workers)
        # On odd metadata and large sizes, which do not matter; what cannot be read is an error.
        warnings.filterwarnings("ignore", module="PIL")

    @property
    def identity(self) -> str:
        digest = hashlib.sha256("\n".join(self.files).encode("utf-8", "surrogateescape")).hexdigest()
        return f"a folder of {len(self)} images in {self.classes} classes, names' sha256 {digest[:16]}"

    def __len__(self) -> int:
        return len(self.files)

    def batch(
        self,
        indices: Indices,
        resolution: int,
        rng: np.random.Generator | None = None,
        share: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        seeds = [None] * len(indices) if rng is None else rng.integers(0, 2**63, len(indices)).tolist()
        mine = indices[share]
        files = [self.folder / self.files[i] for i in mine]
        pixels = list(self.pool.map(_decode, files, [resolution] * len(files), seeds[share]))
        x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
        return _scale(x, resolution), torch.from_numpy(self.labels[mine])


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


def _decode(file: Path, resolution: int, seed: int | None) -> NDArray[np.uint8]:
    from PIL import Image

    image = _open_image(file)
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


def _open_image(file: Path) -> Image.Image:
    """The image in `file` as 8-bit RGB, on white where it is transparent.

    Raises:
        InputError: it is broken, or has no such form; names the file.
    """
    from PIL import Image

    try:
        with Image.open(file) as opened:
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
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{file} cannot be read as an image: {reason}") from error


def _digits(split: str) -> ArrayData:
    """scikit-learn's 8x8 digits enlarged four times: 1,437 to train on, 360 to test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
    images = np.repeat(np.repeat(images, 4, axis=1), 4, axis=2)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., None].repeat(3, axis=-1)
    order = np.random.default_rng(0).permutation(len(images))
    chosen = order[360:] if split == "train" else order[:360]
    return ArrayData(
        f"digits-{split}", images[chosen], digits.target[chosen].astype(np.int64), "0123456789", 4
    )


def _glyphs(split: str) -> ArrayData:
    from compofa import glyphs

    count = GLYPHS_TRAIN_IMAGES if split == "train" else GLYPHS_TEST_IMAGES
    images, labels = glyphs.load(split, count)
    return ArrayData(f"glyphs-v{glyphs.VERSION}-{split}", images, labels, glyphs.CLASSES, margin=4)


def load_data(name: str, split: str, class_names: Sequence[str] | None = None) -> ImageData:
    """The `train` or `test` split of `glyphs`, `digits` or `imagefolder:PATH` (whose test split is ``val``).

    Args:
        name: of the data set.
        split: ``train`` or ``test``.
        class_names: what the labels must stand for, as in the training split; None takes what is there.

    Raises:
        InputError: there is no such data set, or it has other classes.
    """
    kind, _, path = name.partition(":")
    if kind == "imagefolder" and path:
        return FolderData(Path(path) / ("train" if split == "train" else "val"), class_names)
    if name not in _ARRAYS:
        raise InputError(f"unknown data {name!r}; there are glyphs, digits, imagefolder:PATH")
    data = _ARRAYS[name](split)
    if class_names is not None and data.class_names != tuple(class_names):
        raise InputError(f"{name} {class_differences(class_names, data.class_names)}")
    return data


_ARRAYS = {"glyphs": _glyphs, "digits": _digits}


def absolute_name(name: str) -> str:
    """The name of a data set, such that it means the same from every folder."""
    kind, _, path = name.partition(":")
    return f"{kind}:{Path(path).resolve()}" if kind == "imagefolder" and path else name


def is_there(name: str) -> bool:
    """Whether the data set lies where its name says; always so for one that comes with the package."""
    _, _, path = name.partition(":")
    return not path or Path(path).is_dir()
