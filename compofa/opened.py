"""A supernet and the images whose classes it tells apart."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from compofa.checkpoint import open_supernet
from compofa.data import ImageData, absolute_name, class_differences, is_there, load_data
from compofa.data.base import NORMALISATIONS
from compofa.errors import InputError
from compofa.identity import SupernetIdentity
from compofa.supernet import Supernet


class Opened(NamedTuple):
    """A supernet with the two splits of a data set whose classes it tells apart."""

    supernet: Supernet
    identity: SupernetIdentity
    train: ImageData
    test: ImageData
    data: str
    """What loads the data set, from any folder."""


def open_with_data(supernet: Path, data: str | None, family: str | None = None) -> Opened:
    """A supernet file and a data set.

    Args:
        supernet: written by ``hwbench train``, or published.
        data: its name; that of the one which the supernet was trained on if None.
        family: of a published supernet.

    Raises:
        InputError: the data set has other classes than the supernet, or it is not said and not there.
        OSError: a file cannot be read.
    """
    net, identity = open_supernet(supernet, family)
    data = absolute_name(data or own_data(supernet, identity))
    # what others published expects what ImageNet's networks do
    normalisation = identity.normalisation or "imagenet"
    if normalisation not in NORMALISATIONS:
        raise InputError(
            f"{supernet} was trained on images that were normalised by {normalisation!r}, which is unknown"
        )
    names = identity.class_names if identity.class_names and ":" in data else None
    train = load_data(data, "train", names, normalisation)
    if train.classes != net.family.classes:
        raise InputError(f"{supernet} tells {net.family.classes} classes apart, {data} has {train.classes}")
    if identity.class_names and train.class_names != identity.class_names:
        words = class_differences(identity.class_names, train.class_names)
        raise InputError(f"{data} {words}: {supernet} tells other classes apart")
    return Opened(net, identity, train, load_data(data, "test", train.class_names, normalisation), data)


def own_data(path: Path, identity: SupernetIdentity) -> str:
    """The name of the data set that the supernet in `path` was trained on.

    Raises:
        InputError: it does not say, or the data set is no longer there.
    """
    if identity.data_source is None:
        raise InputError(f"{path} does not say what it was trained on: give --data")
    if not is_there(identity.data_source):
        shards = identity.data_source.startswith("webdataset:")
        name = "webdataset:PATTERN" if shards else "imagefolder:PATH"
        raise InputError(
            f"{path} was trained on {identity.data_source}, which is not there: say where it is with --data {name}"
        )
    return identity.data_source
