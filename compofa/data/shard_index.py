"""Where in their shards images are: found once by reading all headers, and kept."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compofa.data.photographs import SUFFIXES
from compofa.errors import InputError, Unavailable
from compofa.files import replacing
from compofa.home import home

VERSION = 1
"""Raise when another index would be made of the same shards."""


class Index(NamedTuple):
    """Where the images of some shards are; one entry each."""

    keys: Sequence[str]
    classes: Sequence[str]
    shards: Sequence[int] | NDArray[np.int64]
    offsets: Sequence[int] | NDArray[np.int64]
    sizes: Sequence[int] | NDArray[np.int64]


def read_index(shards: Sequence[Path]) -> Index:
    """The index of `shards`; made the first time, and kept until one of them changes.

    Raises:
        InputError: a shard is damaged, or a sample is incomplete.
        OSError: a shard cannot be read.
    """
    states = [(str(shard.resolve()), (state := shard.stat()).st_size, state.st_mtime_ns) for shard in shards]
    digest = sha256(repr((VERSION, states)).encode()).hexdigest()
    path = home() / "data" / f"webdataset-{digest[:24]}.npz"
    if (kept := _read_kept(path)) is not None:
        return kept
    found = [sample for number, shard in enumerate(shards) for sample in _samples(number, shard)]
    keys, classes, numbers, offsets, sizes = map(list, zip(*found, strict=True)) if found else ([],) * 5
    index = Index(keys, classes, *(np.array(v, dtype=np.int64) for v in (numbers, offsets, sizes)))
    _keep(index, path)
    return index


def _keep(index: Index, path: Path) -> None:
    keys, classes = (np.frombuffer("\n".join(texts).encode(), np.uint8) for texts in index[:2])
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        np.savez(
            beside,
            keys=keys,
            classes=classes,
            shards=index.shards,
            offsets=index.offsets,
            sizes=index.sizes,
        )


def _read_kept(path: Path) -> Index | None:
    """What :func:`_keep` wrote; None if there is nothing, or it is damaged."""
    try:
        with np.load(path) as kept:
            keys, classes = (bytes(kept[name]).decode().split("\n") for name in ("keys", "classes"))
            index = Index(keys, classes, kept["shards"], kept["offsets"], kept["sizes"])
    except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return index if len({len(entries) for entries in index}) == 1 else None


def _samples(number: int, shard: Path) -> Iterator[tuple[str, str, int, int, int]]:
    """The entries of a shard's samples."""
    group = library("tariterators").group_by_keys
    try:
        for sample in group(_members(shard)):
            images = [value for suffix, value in sample.items() if f".{suffix}" in SUFFIXES]
            if len(images) != 1 or "cls" not in sample:
                lacks = "no member .cls" if len(images) == 1 else f"{len(images)} images, not one"
                raise InputError(f"{shard}: sample {sample['__key__']} has {lacks}")
            yield sample["__key__"], sample["cls"], number, *images[0]
    except (tarfile.TarError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error.args[0]) if error.args else type(error).__name__
        raise InputError(
            f"{shard} is no tar file that can be read (compressed ones cannot): {reason}"
        ) from error


def _members(shard: Path) -> Iterator[dict[str, Any]]:
    """As the library's reader gives them, but with the place of a member for its content, unless that is a class."""
    with tarfile.TarFile(shard) as opened:
        tar: Any = opened  # of which `members` is no public name
        for member in tar:
            if not member.isreg():
                continue
            content: object = (member.offset_data, member.size)
            if member.name.lower().endswith(".cls"):
                content = tar.extractfile(member).read(200).decode().strip()
            yield {"fname": member.name, "data": content, "__url__": str(shard)}
            tar.members = []  # else it remembers all


def library(module: str) -> Any:
    """A module of the library `webdataset`.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        return import_module(f"webdataset.{module}")
    except ImportError as error:
        raise Unavailable(
            f"webdataset:PATTERN needs the library of that name ({error}): pip install hwbench[webdataset]"
        ) from error
