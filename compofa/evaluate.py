"""Measured accuracy of subnets: extract, recalibrate BN, run the test images."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process, resource_tracker
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from compofa.checkpoint import open_supernet
from compofa.data import ImageData, absolute_name, class_differences, is_there, load_data
from compofa.errors import InputError, RunFailed
from compofa.identity import SupernetIdentity
from compofa.spaces.arch import Arch
from compofa.supernet import Supernet

BATCH = 256
CALIBRATION_IMAGES = 512


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Sequence[Tensor]) -> None:
    """Replace all BN statistics by those of `batches`, each (n, channels, side, side).

    A subnet shares its statistics with all others while the supernet trains, so that they fit none
    (OFA, section 3.2). As in the reference implementation (``set_running_statistics``) they are the mean over the
    batches, weighted by images, of each batch's mean and *biased* variance, and every batch is normalised by its own.
    Dropout stays off. Leaves the network in evaluation mode.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    network.eval()
    averages = [_AveragedNorm(norm, sum(map(len, batches))) for norm in norms]
    for x in batches:
        network(x)
    for average in averages:
        average.finish()


class _AveragedNorm:
    """A BN layer while its statistics are averaged over batches of `images` in all."""

    def __init__(self, norm: nn.BatchNorm2d, images: int) -> None:
        self.norm, self.images, self.momentum = norm, images, norm.momentum
        norm.reset_running_stats()
        assert norm.running_mean is not None and norm.running_var is not None
        self.mean, self.var = torch.zeros_like(norm.running_mean), torch.zeros_like(norm.running_var)
        norm.momentum = 1.0  # the running statistics are then the last batch's
        self.hooks = (norm.register_forward_pre_hook(self._before), norm.register_forward_hook(self._after))

    def _before(self, norm: nn.Module, inputs: tuple[Tensor]) -> None:
        (x,) = inputs
        self.norm.train(x.numel() > x.shape[1])
        if not self.norm.training:  # one value a channel, which torch does not normalise by itself
            self.norm.running_mean.copy_(x.flatten())  # type: ignore[union-attr]
            self.norm.running_var.zero_()  # type: ignore[union-attr]

    def _after(self, norm: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        (x,) = inputs
        values = x.numel() // x.shape[1]
        share = len(x) / self.images
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        self.mean += share * self.norm.running_mean
        # torch keeps the unbiased variance
        self.var += share * (values - 1) / values * self.norm.running_var

    def finish(self) -> None:
        for hook in self.hooks:
            hook.remove()
        self.norm.running_mean.copy_(self.mean)  # type: ignore[union-attr]
        self.norm.running_var.copy_(self.var)  # type: ignore[union-attr]
        self.norm.momentum = self.momentum
        self.norm.eval()


@torch.inference_mode()
def count_correct(network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> int:
    """Images whose largest logit is their label's.

    Raises:
        RunFailed: a logit is not finite: which is largest means nothing then.
    """
    correct = 0
    for x, y in batches:
        logits = network(x)
        if not logits.isfinite().all():
            raise RunFailed("the network's logits are not finite")
        correct += int((logits.argmax(1) == y).sum())
    return correct


class Evaluator:
    """Measures subnets of one supernet, with images kept in memory at each resolution.

    Args:
        supernet: where subnets come from.
        train: calibration images are its first ones, in a fixed random order and not augmented.
        test: every image of it is classified.
        calibration_images: how many to recalibrate with.
    """

    def __init__(
        self,
        supernet: Supernet,
        train: ImageData,
        test: ImageData,
        calibration_images: int = CALIBRATION_IMAGES,
    ) -> None:
        self.supernet, self.train, self.test = supernet, train, test
        generator = torch.Generator().manual_seed(0)
        self.calibration = torch.randperm(len(train), generator=generator)[:calibration_images].numpy()
        self._batches: dict[int, tuple[list[Tensor], list[tuple[Tensor, Tensor]]]] = {}

    def network(self, arch: Arch) -> nn.Module:
        """The subnet, static and recalibrated, in evaluation mode."""
        network = self.supernet.extract(arch).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        recalibrate(network, self._images(arch.resolution)[0])
        return network

    def correct(self, arch: Arch) -> int:
        """Test images that the subnet classifies right.

        Raises:
            RunFailed: it computes what is not finite.
        """
        try:
            return count_correct(self.network(arch), self._images(arch.resolution)[1])
        except RunFailed as error:
            raise RunFailed(f"{arch}: {error}") from error

    def _images(self, resolution: int) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        if resolution not in self._batches:
            calibration = [
                self.train.batch(self.calibration[start : start + BATCH], resolution)[0]
                for start in range(0, len(self.calibration), BATCH)
            ]
            test = [
                self.test.batch(range(start, min(start + BATCH, len(self.test))), resolution)
                for start in range(0, len(self.test), BATCH)
            ]
            self._batches[resolution] = calibration, test
        return self._batches[resolution]


# --- supernet and images together ---


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
    train = load_data(data, "train", identity.class_names if identity.class_names and ":" in data else None)
    if train.classes != net.family.classes:
        raise InputError(f"{supernet} tells {net.family.classes} classes apart, {data} has {train.classes}")
    if identity.class_names and train.class_names != identity.class_names:
        words = class_differences(identity.class_names, train.class_names)
        raise InputError(f"{data} {words}: {supernet} tells other classes apart")
    return Opened(net, identity, train, load_data(data, "test", train.class_names), data)


def own_data(path: Path, identity: SupernetIdentity) -> str:
    """The name of the data set that the supernet in `path` was trained on.

    Raises:
        InputError: it does not say, or the data set is no longer there.
    """
    if identity.data_source is None:
        raise InputError(f"{path} does not say what it was trained on: give --data")
    if not is_there(identity.data_source):
        raise InputError(
            f"{path} was trained on {identity.data_source}, which is not there:"
            " say where it is with --data imagefolder:PATH"
        )
    return identity.data_source


# --- in worker processes ---

_evaluator: Evaluator | None = None
"""Of a worker process: made once, since every subnet it measures shares it."""


def make_evaluator(supernet: Path, data: str | None = None, family: str | None = None) -> Evaluator:
    """The evaluator of a supernet file on a data set's test split; see :func:`open_with_data`."""
    opened = open_with_data(supernet, data, family)
    return Evaluator(opened.supernet, opened.train, opened.test)


def _start_worker(supernet: Path, data: str, family: str | None) -> None:
    global _evaluator
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _evaluator = make_evaluator(supernet, data, family)


def _end_with_parent() -> None:
    """A parent that is killed tells nobody, and its worker would wait for the next subnet for ever."""
    parent = parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _measure(arch: Arch) -> int:
    assert _evaluator
    return _evaluator.correct(arch)


def correct_counts(
    supernet: Path, data: str, archs: Sequence[Arch], workers: int, family: str | None = None
) -> Iterator[int]:
    """Correct test images of each subnet, in order, measured on one thread each, by `workers` processes; one is this.

    Raises:
        RunFailed: a worker process ended, or a subnet computes what is not finite.
    """
    if workers == 1:
        evaluator = make_evaluator(supernet, data, family)
        with _one_thread():
            yield from map(evaluator.correct, archs)
        return
    # spawn: a forked child would inherit torch's thread pool in an unknown state
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (supernet, data, family)) as pool:
        try:
            with _interrupts_are_ours():
                counts = pool.map(_measure, archs, chunksize=1)
            yield from counts
        except BrokenProcessPool as error:
            raise RunFailed(
                "a process that evaluates ended: was there not enough memory? Try fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _interrupts_are_ours() -> Iterator[None]:
    """Processes started within do not see Ctrl-C, which a terminal sends to all: the parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it unblocks the signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
