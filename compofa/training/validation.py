"""How good a supernet is on the way: for curves, not for results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compofa.blocks import total_macs
from compofa.data import ImageData
from compofa.data.part import Part
from compofa.evaluate import Evaluator
from compofa.network import arch_blocks
from compofa.spaces.arch import Arch

if TYPE_CHECKING:
    from compofa.training.trainer import Trainer

IMAGES = 1000
"""Test images that are classified, always the same ones."""
SAMPLE = 20
"""Random subnets of a stage among which the smallest and the largest are looked for."""


class Validator:
    """Measures two subnets of the space that is being trained.

    Args:
        test: the test split.
    """

    def __init__(self, test: ImageData) -> None:
        self.test = Part(test, np.random.default_rng(0).permutation(len(test))[:IMAGES].tolist())

    def __call__(self, trainer: Trainer) -> dict[str, Any]:
        """``{"accuracy": {"smallest": share, "largest": share}}``, of images classified right."""
        evaluator = Evaluator(trainer.supernet, trainer.data, self.test, device=str(trainer.stepper.device))
        archs = dict(zip(("smallest", "largest"), subnets_of_stage(trainer), strict=True))
        return {"accuracy": {name: evaluator.correct(arch) / len(self.test) for name, arch in archs.items()}}


def subnets_of_stage(trainer: Trainer) -> tuple[Arch, Arch]:
    """The one with fewest and the one with most MACs of some of the present stage, at a middle resolution."""
    family = replace(trainer.schedule.family, classes=trainer.data.classes)
    space = trainer.recipe.stages[trainer.progress.stage].subspace(family)
    resolution = middle_resolution(family.resolutions)
    rng = np.random.default_rng(0)
    archs = sorted(
        {space.sample(rng, resolution) for _ in range(SAMPLE)},
        key=lambda arch: (total_macs(arch_blocks(family, arch)), str(arch)),
    )
    return archs[0], archs[-1]


def middle_resolution(resolutions: tuple[int, ...]) -> int:
    """The median, one that there is."""
    return sorted(resolutions)[len(resolutions) // 2]
