"""Measured accuracy of subnets: extract, recalibrate BN, run the test images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn

from compofa.arch import Arch
from compofa.checkpoint import load_supernet
from compofa.data import ImageData, load_data
from compofa.errors import InputError
from compofa.supernet import Supernet

BATCH = 256
CALIBRATION_IMAGES = 512


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Sequence[Tensor]) -> None:
    """Replace all BN statistics by the average over `batches`, each (n, channels, side, side).

    A subnet shares its statistics with all others while the supernet trains, so that they fit none
    (OFA, section 3.2). Dropout stays off. Leaves the network in evaluation mode.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    for x in batches:
        network(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


@torch.inference_mode()
def count_correct(network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> int:
    """Images whose largest logit is their label's."""
    return sum(int((network(x).argmax(1) == y).sum()) for x, y in batches)


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
        """Test images that the subnet classifies right."""
        return count_correct(self.network(arch), self._images(arch.resolution)[1])

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


_evaluator: Evaluator | None = None
"""Of a worker process: made once, since every subnet it measures shares it."""


def make_evaluator(supernet: Path, data: str) -> Evaluator:
    """The evaluator of a supernet file on a data set's test split.

    Raises:
        ValueError: the data set has another number of classes than the supernet.
    """
    net, _ = load_supernet(supernet)
    train, test = load_data(data, "train"), load_data(data, "test")
    if test.classes != net.family.classes:
        raise InputError(f"{supernet} tells {net.family.classes} classes apart, {data} has {test.classes}")
    return Evaluator(net, train, test)


def _start_worker(supernet: Path, data: str) -> None:
    global _evaluator
    torch.set_num_threads(1)
    _evaluator = make_evaluator(supernet, data)


def _measure(arch: Arch) -> int:
    assert _evaluator
    return _evaluator.correct(arch)


def correct_counts(supernet: Path, data: str, archs: Sequence[Arch], workers: int) -> Iterator[int]:
    """Correct test images of each subnet, in order, measured by `workers` one-thread processes."""
    # spawn: a forked child would inherit torch's thread pool in an unknown state
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (supernet, data)) as pool:
        try:
            yield from pool.map(_measure, archs, chunksize=1)
        finally:
            pool.shutdown(cancel_futures=True)
