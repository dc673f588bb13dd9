"""What a recipe asks for at each step, by the seed, the stage and the step alone: a run that is resumed, or divided
among other processes, sees the same images at the same resolutions in the same subnets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from compofa.data import Augmenter
from compofa.recipe import Recipe, Stage
from compofa.spaces.arch import Arch
from compofa.spaces.family import Family


def stage_steps(recipe: Recipe, stage: Stage, images: int) -> tuple[int, int]:
    """(steps, warm-up steps of them) of a stage, on a data set of `images` images."""
    per_epoch = (recipe.images_per_epoch or images) / recipe.batch_size * recipe.epoch_scale
    steps, warmup = max(1, round(stage.epochs * per_epoch)), round(stage.warmup_epochs * per_epoch)
    return steps + warmup * recipe.extra_warmup, warmup


def learning_rate(peak: float, step: int, steps: int, warmup: int, start: float = 0.0) -> float:
    """Linear warm-up from `start`, then half a cosine to zero."""
    if step < warmup:
        return start + (peak - start) * (step + 1) / warmup
    return 0.5 * peak * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@dataclass(frozen=True)
class StepDraw:
    """One step.

    Args:
        number: of the stage.
        step: in the stage.
        resolution: in pixels.
        archs: subnets whose gradients are added up.
        indices: images of the whole batch.
        augmenter: of the epoch that they are in.
        torch_seed: of what is random in the network, to which each process adds its rank.
    """

    number: int
    step: int
    resolution: int
    archs: tuple[Arch, ...]
    indices: NDArray[np.int64]
    augmenter: Augmenter
    torch_seed: int


@dataclass(frozen=True)
class Schedule:
    """The steps of a recipe on a data set.

    Args:
        recipe: what to do.
        family: of the supernet, with the classes of the data.
        images: of the data set.
    """

    recipe: Recipe
    family: Family
    images: int

    def steps(self, stages: int | None = None) -> int:
        """Of the first `stages` stages; of all unless given."""
        return sum(stage_steps(self.recipe, stage, self.images)[0] for stage in self.recipe.stages[:stages])

    def lr(self, number: int, step: int) -> float:
        """The learning rate of a step."""
        recipe, stage = self.recipe, self.recipe.stages[number]
        peak = stage.base_lr * recipe.batch_size / stage.lr_images
        steps, warmup = stage_steps(recipe, stage, self.images)
        return learning_rate(peak, step, steps, warmup, stage.base_lr if recipe.extra_warmup else 0.0)

    def draw(self, number: int, step: int) -> StepDraw:
        """What is random in a step."""
        recipe, stage = self.recipe, self.recipe.stages[number]
        rng = np.random.default_rng([recipe.seed, number, step])
        resolution = int(rng.choice(self.family.resolutions))
        archs = stage.draw_archs(self.family, rng, resolution)
        epoch, indices = self._indices(self.steps(number) + step)
        augmenter = Augmenter(recipe.augmentation, recipe.seed, epoch)
        torch_seed = int(rng.integers(2**62))
        return StepDraw(number, step, resolution, archs, indices, augmenter, torch_seed)

    def draws(self, number: int, step: int) -> Iterator[StepDraw]:
        """Those of a stage from `step` on."""
        for later in range(step, stage_steps(self.recipe, self.recipe.stages[number], self.images)[0]):
            yield self.draw(number, later)

    def _indices(self, global_step: int) -> tuple[int, NDArray[np.int64]]:
        """(epoch, the whole batch): a fresh permutation of the data set each time it is used up."""
        batch = self.recipe.batch_size
        per_permutation = max(1, self.images // batch)
        epoch, place = divmod(global_step, per_permutation)
        order = _permutation(self.recipe.seed, epoch, self.images)
        return epoch, order[place * batch : (place + 1) * batch]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Remembered, as all steps of an epoch ask for the same: a million images take longer than many a step."""
    return np.random.default_rng([seed, epoch]).permutation(images)
