"""Recipes: a training schedule as data, read from TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from compofa.errors import InputError
from compofa.families import Family, get_family
from compofa.spaces import Space, get_space

RECIPES = (
    "glyphs-teacher",
    "glyphs-ofa",
    "glyphs-compofa",
    "digits-teacher",
    "digits-compofa",
    "imagenet-teacher",
    "imagenet-ofa",
    "imagenet-compofa",
)


@dataclass(frozen=True)
class Stage:
    """One cosine schedule over a part of the space.

    Args:
        name: in logs and checkpoints.
        epochs: as published; the recipe's `epoch_scale` multiplies it.
        base_lr: learning rate for a batch of `lr_images`; it grows linearly with the batch.
        lr_images: see `base_lr`.
        warmup_epochs: linear from zero, scaled like `epochs`.
        subnets_per_step: subnets whose gradients one step adds up.
        space: rule that subnets are drawn from.
        depths, expands, kernels: the choices that are elastic by now.
        sort_hidden: sort hidden channels by importance before the stage.
        keep_expands: expand ratios trained before, which the sorting must leave in place.
    """

    name: str
    epochs: float
    base_lr: float
    lr_images: int
    warmup_epochs: float
    subnets_per_step: int
    depths: tuple[int, ...]
    expands: tuple[int, ...]
    kernels: tuple[int, ...]
    space: str = "ofa"
    sort_hidden: bool = False
    keep_expands: tuple[int, ...] = ()

    def subspace(self, family: Family) -> Space:
        """What the stage draws its subnets from."""
        part = replace(family, depths=self.depths, expands=self.expands, kernels=self.kernels)
        return get_space(self.space, part)


@dataclass(frozen=True)
class Recipe:
    """How to train a supernet.

    Args:
        name: the recipe's.
        family: name of the family.
        data: name of the data set (:func:`compofa.data.load_data`).
        batch_size: images in a step, over all processes.
        images_per_epoch: images that count as one epoch; 0 for the whole data set.
        epoch_scale: multiplies every stage's epochs.
        kernel_transform: learn the kernel matrices.
        stages: in order.
        momentum: of SGD with Nesterov.
        weight_decay: on all weights but BN's and biases.
        label_smoothing, dropout: as usual.
        distill: weight of the soft cross-entropy with the teacher's logits; 0 trains without a teacher.
        seed: of everything random.
    """

    name: str
    family: str
    data: str
    batch_size: int
    stages: tuple[Stage, ...]
    images_per_epoch: int = 0
    epoch_scale: float = 1.0
    kernel_transform: bool = True
    momentum: float = 0.9
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    dropout: float = 0.1
    distill: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        get_family(self.family)
        if self.batch_size < 1 or not self.stages or self.epoch_scale <= 0:
            raise InputError(f"recipe {self.name}: batch_size, epoch_scale and stages must be positive")

    @classmethod
    def load(cls, name: str) -> Recipe:
        """A shipped recipe, or one from a ``.toml`` file.

        Raises:
            ValueError: there is none, or a key is missing or unknown.
        """
        if name in RECIPES:
            text = (files("compofa") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        elif name.endswith(".toml") and Path(name).is_file():
            text = Path(name).read_text(encoding="utf-8")
        else:
            raise InputError(f"unknown recipe {name!r}; there are {', '.join(RECIPES)}, or give a .toml file")
        try:
            return cls.parse(Path(name).stem, tomllib.loads(text))
        except (TypeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"recipe {name}: {error}") from error

    @classmethod
    def parse(cls, name: str, table: dict[str, Any]) -> Recipe:
        """The recipe of a TOML table, whose ``stage`` is a list of stages."""
        table = dict(table)
        stages = tuple(_stage(stage) for stage in table.pop("stage", []))
        return cls(name=name, stages=stages, **table)


def _stage(table: dict[str, Any]) -> Stage:
    known = {field.name for field in fields(Stage)}
    if unknown := table.keys() - known:
        raise InputError(f"a stage has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return Stage(**values)
