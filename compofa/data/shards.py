"""Images in tar files, as the library `webdataset` writes and reads them.

The library reads shards as streams, of which each process takes some: which images a step sees then depends on how
many processes there are, and an epoch is whole only where shards divide evenly. Here an index says where in its shard
an image is, so that it is read by its number as from a folder, and all that holds of folders holds of shards. The
library says which shards a pattern names and which members of a tar file belong together.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from compofa.data.base import class_differences
from compofa.data.photographs import PhotographData
from compofa.data.shard_index import library, read_index
from compofa.errors import InputError

WORDS = {"train": ("train",), "test": ("val", "validation", "test")}
"""Split -> what SPLIT may stand for in the name of a shard."""


class ShardData(PhotographData):
    """Images in shards.

    Args:
        pattern: names of tar files on this machine, with ``{000..146}``, ``*`` and the word SPLIT, which stands for
            `split`. Each sample has an image and a member ``.cls``.
        split: ``train`` or ``test``.
        class_names: what ``.cls`` may say, in label order; what it says, unless given: numbers in their order, else
            by name.
        normalisation: see :class:`compofa.data.base.ImageData`.

    Raises:
        InputError: a shard is missing or damaged; a sample has no image or no class; classes are missing or too many,
            or there are fewer than two.
        Unavailable: the library is not installed.
        OSError: a shard cannot be read.
    """

    kind = "set of shards"

    def __init__(
        self,
        pattern: str,
        split: str,
        class_names: Sequence[str] | None = None,
        normalisation: str = "imagenet",
    ) -> None:
        self.shards = find_shards(pattern, split)
        self.index = read_index(self.shards)
        found = sorted(set(self.index.classes), key=_in_order)
        where = f"{pattern} ({split})"
        if class_names is not None and (words := class_differences(class_names, found)):
            raise InputError(f"{where} {words}: labels would stand for other classes than in training")
        names = tuple(class_names or found)
        if len(names) < 2:
            raise InputError(f"{where} holds images of fewer than two classes")
        label = {name: n for n, name in enumerate(names)}
        labels = np.array([label[name] for name in self.index.classes])
        name = f"webdataset:{Path(pattern).name} {split}"
        super().__init__(name, self.index.keys, labels, names, normalisation)

    def file(self, index: int) -> Member:
        shard = self.shards[self.index.shards[index]]
        with shard.open("rb") as stream:
            stream.seek(self.index.offsets[index])
            return Member(f"{self.files[index]} in {shard}", stream.read(self.index.sizes[index]))


class Member(BytesIO):
    """A member of a tar file, whose ``str`` is its name."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self._name = name

    def __str__(self) -> str:
        return self._name


def _in_order(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)


def find_shards(pattern: str, split: str) -> list[Path]:
    """The shards of a split, in order.

    Raises:
        InputError: there are none, or not all; or the pattern has no SPLIT.
        Unavailable: the library is not installed.
    """
    if "SPLIT" not in pattern or "://" in pattern or pattern.startswith("pipe:"):
        raise InputError(
            f"webdataset:{pattern} is no pattern of files on this machine with the word SPLIT, such as"
            " webdataset:/data/imagenet-SPLIT-{000..146}.tar"
        )
    for word in WORDS[split]:
        names = _expanded(pattern.replace("SPLIT", word))
        found = {name: sorted(glob.glob(name)) for name in names}
        if shards := [Path(path) for paths in found.values() for path in paths]:
            if missing := [name for name, paths in found.items() if not paths]:
                raise InputError(
                    f"{len(missing)} shards of webdataset:{pattern} are missing, such as {missing[0]}"
                )
            return shards
    raise InputError(f"no shards {pattern} with {' or '.join(WORDS[split])} for SPLIT")


def _expanded(pattern: str) -> list[str]:
    expand = library("shardlists").expand_urls
    try:
        names: list[str] = expand(pattern)
    except (ValueError, AssertionError) as error:
        raise InputError(f"webdataset:{pattern}: {error}") from error
    return names
