"""Measured accuracy of subnets: extract, recalibrate BN, run the test images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn

from compofa.data import ImageData
from compofa.data.base import Indices
from compofa.data.loading import BatchSpec, load
from compofa.errors import RunFailed
from compofa.opened import open_with_data
from compofa.recalibration import recalibrate
from compofa.spaces.arch import Arch
from compofa.supernet import Supernet

BATCH, SMALL_BATCH = 256, 32
LARGE_RESOLUTION = 65
"""Pixels, from which on a batch is small: activations of the larger one would take gigabytes."""
CALIBRATION_IMAGES = 512
HELD_BYTES = 256 * 1024**2
"""Test images of one resolution are kept in memory up to this; more are read anew each time."""
TOGETHER = 8
"""Subnets that share one reading of images that are not kept."""

Batch = tuple[Tensor, Tensor]


def correct_in(network: nn.Module, x: Tensor, y: Tensor) -> int:
    """Images of a batch whose largest logit is their label's.

    Raises:
        RunFailed: a logit is not finite: which is largest means nothing then.
    """
    with torch.inference_mode():
        logits = network(x)
        if not logits.isfinite().all():
            raise RunFailed("the network's logits are not finite")
        return int((logits.argmax(1) == y).sum())


class Evaluator:
    """Measures subnets of one supernet. Its memory does not grow with the number of images.

    Args:
        supernet: where subnets come from.
        train: calibration images are its first ones, in a fixed random order and not augmented.
        test: every image of it is classified.
        calibration_images: how many to recalibrate with.
        device: torch device.
        data_workers: processes that read test images (:func:`compofa.data.loading.load`).
    """

    def __init__(
        self,
        supernet: Supernet,
        train: ImageData,
        test: ImageData,
        calibration_images: int = CALIBRATION_IMAGES,
        device: str = "cpu",
        data_workers: int | None = 0,
    ) -> None:
        self.supernet, self.train, self.test = supernet, train, test
        self.device, self.data_workers = torch.device(device), data_workers
        generator = torch.Generator().manual_seed(0)
        self.calibration = torch.randperm(len(train), generator=generator)[:calibration_images].numpy()
        # of the last resolution: subnets are measured in the order of theirs
        self._calibration: tuple[int, list[Tensor]] = (0, [])
        self._held: tuple[int, list[Batch]] = (0, [])

    def network(self, arch: Arch) -> nn.Module:
        """The subnet, static and recalibrated, on the device and in evaluation mode."""
        network = self.supernet.extract(arch).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = (self._ready(self.train, x) for x in self._calibration_pixels(arch.resolution))
        recalibrate(network, images, len(self.calibration))
        return network

    def correct(self, arch: Arch) -> int:
        """Test images that the subnet classifies right.

        Raises:
            RunFailed: it computes what is not finite.
        """
        return self.correct_each([arch])[0]

    def correct_each(self, archs: Sequence[Arch]) -> list[int]:
        """:meth:`correct` of subnets of one resolution, by one reading of the images."""
        networks = [self.network(arch) for arch in archs]
        counts = [0] * len(archs)
        for x, y in self._test_batches(archs[0].resolution):
            for n, network in enumerate(networks):
                try:
                    counts[n] += correct_in(network, x, y)
                except RunFailed as error:
                    raise RunFailed(f"{archs[n]}: {error}") from error
        return counts

    def jobs(self, archs: Sequence[Arch]) -> list[list[Arch]]:
        """`archs` in order, divided into what :meth:`correct_each` should be given at once."""
        jobs: list[list[Arch]] = []
        for resolution, group in groupby(archs, key=lambda arch: arch.resolution):
            alike, together = list(group), 1 if self._is_held(resolution) else TOGETHER
            jobs += [alike[start : start + together] for start in range(0, len(alike), together)]
        return jobs

    def estimated_s(self, archs: Sequence[Arch]) -> float:
        """Seconds that measuring `archs` one after the other will take, by a batch of the first, the middle and the
        last of them."""
        tried = [archs[0], archs[len(archs) // 2], archs[-1]]
        probes = [self._probe(arch) for arch in tried]
        read_s, computed_s = (sum(values) / len(probes) for values in zip(*probes, strict=True))
        readings = len(self.jobs(archs))
        computed = len(archs) * (len(self.test) + len(self.calibration))
        return readings * len(self.test) * read_s + computed * computed_s

    def _probe(self, arch: Arch) -> tuple[float, float]:
        """Seconds an image for (reading it, computing it)."""
        network = self.supernet.extract(arch).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.eval()
        begun = time.monotonic()
        x, y = next(iter(self._batches(self.test, range(min(SMALL_BATCH, len(self.test))), arch.resolution)))
        read = time.monotonic()
        for _ in range(2):  # what the first one has to set up does not count
            computing = time.monotonic()
            with torch.inference_mode():
                network(x).sum().item()
        done = time.monotonic()
        reading_s = 0.0 if self._is_held(arch.resolution) else read - begun
        return reading_s / len(y), (done - computing) / len(y)

    # --- images ---

    def _calibration_pixels(self, resolution: int) -> list[Tensor]:
        if self._calibration[0] != resolution:
            pixels = load(self.train, self._specs(self.calibration, resolution), 0)
            self._calibration = resolution, [batch.images for batch in pixels]
        return self._calibration[1]

    def _test_batches(self, resolution: int) -> Iterable[Batch]:
        if not self._is_held(resolution):
            return self._batches(self.test, range(len(self.test)), resolution, self.data_workers)
        if self._held[0] != resolution:
            self._held = (0, [])
            self._held = resolution, list(self._batches(self.test, range(len(self.test)), resolution))
        return self._held[1]

    def _is_held(self, resolution: int) -> bool:
        return len(self.test) * 3 * resolution**2 * 4 <= HELD_BYTES

    def _batches(
        self, data: ImageData, indices: Indices, resolution: int, workers: int | None = 0
    ) -> Iterator[Batch]:
        pinned = bool(workers) and self.device.type == "cuda"
        for pixels in load(data, self._specs(indices, resolution), workers, pinned):
            yield self._ready(data, pixels.images), pixels.labels.to(self.device, non_blocking=True)

    def _specs(self, indices: Indices, resolution: int) -> list[BatchSpec]:
        size = BATCH if resolution < LARGE_RESOLUTION else SMALL_BATCH
        return [BatchSpec(indices[n : n + size], resolution) for n in range(0, len(indices), size)]

    def _ready(self, data: ImageData, images: Tensor) -> Tensor:
        return data.standardise(images.to(self.device, non_blocking=True))


def make_evaluator(
    supernet: Path,
    data: str | None = None,
    family: str | None = None,
    device: str = "cpu",
    data_workers: int | None = 0,
) -> Evaluator:
    """The evaluator of a supernet file on a data set's test split; see :func:`compofa.opened.open_with_data`."""
    opened = open_with_data(supernet, data, family)
    return Evaluator(opened.supernet, opened.train, opened.test, device=device, data_workers=data_workers)
