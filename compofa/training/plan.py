"""What a run will take, before it begins: by a short measured probe of each stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import psutil
import torch

from compofa.data.loading import default_workers
from compofa.training.schedule import StepDraw, stage_steps
from compofa.training.step import make_optimizer
from compofa.training.trainer import Trainer
from compofa.training.validation import middle_resolution

Result = TypeVar("Result")
PROBE_IMAGES = 16
"""Of a step, on the CPU: its time grows with their number."""


@dataclass(frozen=True)
class StagePlan:
    """A stage.

    Args:
        name: the stage's.
        steps: of it.
        steps_left: that a run which goes on in this folder still takes.
        images: read in all steps.
        subnet_passes: images x subnets.
        step_s: seconds of a step, predicted.
    """

    name: str
    steps: int
    steps_left: int
    images: int
    subnet_passes: int
    step_s: float

    @property
    def hours_left(self) -> float:
        """Predicted."""
        return self.steps_left * self.step_s / 3600


@dataclass(frozen=True)
class Plan:
    """A run.

    Args:
        recipe: its name.
        data: the name of the training images.
        data_images: how many there are.
        stages: in order.
        images_at_once: that go through a network together, in a process.
        memory_bytes: of a process, predicted: of the device's own memory on CUDA, else of the machine's.
        probe_images: that the probe measured with.
        resolution: that it measured at.
    """

    recipe: str
    data: str
    data_images: int
    stages: tuple[StagePlan, ...]
    images_at_once: int
    memory_bytes: int
    probe_images: int
    resolution: int

    @property
    def hours_left(self) -> float:
        """Predicted."""
        return sum(stage.hours_left for stage in self.stages)


def plan(trainer: Trainer) -> Plan:
    """Look at each stage of a trainer, whose weights are of no use afterwards."""
    probe = _Probe(trainer)
    recipe = trainer.recipe
    stages = []
    for number, stage in enumerate(recipe.stages):
        steps, _ = stage_steps(recipe, stage, len(trainer.data))
        images = steps * min(recipe.batch_size, len(trainer.data))
        done = trainer.progress
        gone = steps if number < done.stage else done.step if number == done.stage else 0
        passes = images * stage.subnets_per_step
        stages.append(StagePlan(stage.name, steps, steps - gone, images, passes, probe.step_s(number)))
    return Plan(
        recipe.name,
        trainer.data.name,
        len(trainer.data),
        tuple(stages),
        probe.at_once,
        probe.memory_bytes(),
        probe.images,
        probe.resolution,
    )


class _Probe:
    """Takes steps of a few images and scales to what a process's share of a batch is."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.device = trainer, trainer.stepper.device
        self.share = -(-min(trainer.recipe.batch_size, len(trainer.data)) // trainer.world.size)
        self.at_once = min(self.share, trainer.micro_batch or self.share)
        self.images = self.at_once if self.device.type == "cuda" else min(self.at_once, PROBE_IMAGES)
        self.resolution = middle_resolution(trainer.schedule.family.resolutions)
        self.before, self.peak = self._memory(), 0

    def step_s(self, number: int) -> float:
        """Seconds of a step of a stage."""
        trainer = self.trainer
        draw = self._draw(number)
        reading_s, pixels = _timed(lambda: trainer.data.pixels(draw.indices, draw.resolution, draw.augmenter))
        optimizer = make_optimizer(trainer.supernet, trainer.recipe)
        trainer.stepper.gradients(draw, pixels)  # what the first one has to set up does not count
        computing_s, _ = _timed(lambda: trainer.stepper.gradients(draw, pixels))
        self.peak = max(self.peak, self._memory())
        updating_s, _ = _timed(lambda: trainer.stepper.update(optimizer, 0.0))
        scale = self.share / self.images
        if not trainer.data.slow:
            return scale * (computing_s + reading_s) + updating_s
        workers = trainer.data_workers or default_workers()
        return max(scale * computing_s + updating_s, scale * reading_s / workers)

    def _draw(self, number: int) -> StepDraw:
        draw = self.trainer.schedule.draw(number, 0)
        return replace(
            draw,
            resolution=self.resolution,
            archs=tuple(replace(arch, resolution=self.resolution) for arch in draw.archs),
            indices=np.asarray(draw.indices[: self.images]),
        )

    def memory_bytes(self) -> int:
        """Of a process, at its peak; after the probes."""
        grown = max(0, self.peak - self.before)
        largest = max(self.trainer.schedule.family.resolutions) ** 2 / self.resolution**2
        return round(self.before + grown * self.at_once / self.images * largest)

    def _memory(self) -> int:
        """The most that was held so far."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _peak_bytes()


def _peak_bytes() -> int:
    try:
        import resource
    except ImportError:  # on Windows
        return int(psutil.Process().memory_info().peak_wset)
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    begun = time.monotonic()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - begun, result
