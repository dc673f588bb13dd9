"""The images of the steps, made ahead."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import closing

import torch

from compofa.data import ImageData, Pixels
from compofa.data.loading import BatchSpec, load
from compofa.errors import InputError
from compofa.training.schedule import Schedule, StepDraw
from compofa.training.state import Cost
from compofa.world import World

MOST_BROKEN, BROKEN_SHARE = 100, 0.01
"""Images that cannot be read, beyond which a run ends: as many, and that share of all."""


class Feed:
    """Gives each step this process's share of its images.

    Args:
        schedule: of the steps.
        data: training images.
        cost: where images that cannot be read are counted.
        world: the processes that share a batch.
        workers: processes that make batches (:func:`compofa.data.loading.load`).
        device: that the batches are for.
    """

    def __init__(
        self,
        schedule: Schedule,
        data: ImageData,
        cost: Cost,
        world: World,
        workers: int | None,
        device: torch.device,
    ) -> None:
        self.schedule, self.data, self.cost, self.world = schedule, data, cost, world
        self.workers, self.pinned = workers, device.type == "cuda"

    def steps(self, number: int, step: int) -> Iterator[tuple[StepDraw, Pixels]]:
        """Those of stage `number` from `step` on.

        Raises:
            InputError: too many images cannot be read.
            RunFailed: a process that makes batches ended.
        """
        ahead: deque[StepDraw] = deque()

        def specs() -> Iterator[BatchSpec]:
            for draw in self.schedule.draws(number, step):
                ahead.append(draw)
                yield BatchSpec(draw.indices[self.world.share], draw.resolution, draw.augmenter)

        with closing(load(self.data, specs(), self.workers, self.pinned)) as loaded:
            for pixels in loaded:
                self._note_broken(pixels.broken)
                yield ahead.popleft(), pixels

    def _note_broken(self, broken: tuple[str, ...]) -> None:
        for file in broken:
            self.cost.broken += 1
            if self.cost.broken <= MOST_BROKEN:
                warnings.warn(f"{file} cannot be read as an image: another takes its place", stacklevel=2)
        read = self.cost.images / self.world.size
        if broken and self.cost.broken > max(MOST_BROKEN, BROKEN_SHARE * read):
            raise InputError(
                f"{self.cost.broken} images of {self.data.name} could not be read, the last one {broken[-1]}: repair or"
                " remove them"
            )
