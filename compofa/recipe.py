"""Recipes: a training schedule as data, read from TOML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from compofa.data.augmentation import Augmentation
from compofa.errors import InputError
from compofa.files import parse_toml, read_text
from compofa.spaces.arch import Arch, extreme
from compofa.spaces.family import Family
from compofa.spaces.registry import get_family
from compofa.spaces.space import Space, get_space

RECIPES = (
    "glyphs-teacher",
    "glyphs-ofa",
    "glyphs-compofa",
    "glyphs-compofa-elastic",
    "glyphs-sandwich",
    "digits-teacher",
    "digits-compofa",
    "digits-proxyless",
    "digits-resnet",
    "imagenet-teacher",
    "imagenet-ofa",
    "imagenet-compofa",
    "imagenet-compofa-elastic",
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
        depths, expands, kernels, width_mults: the choices that are elastic by now, of units that have them; all that
            there are where none is given.
        sort_hidden: sort hidden channels by importance before the stage.
        keep_expands: expand ratios trained before, which the sorting must leave in place.
        sandwich: each step takes the largest and the smallest subnet and some random ones; the largest learns from the
            labels, the others from the largest as it is in that step, and no teacher is needed (Yu and Huang,
            arXiv:1903.05134; Yu et al., arXiv:2003.11142).
    """

    name: str
    epochs: float
    base_lr: float
    lr_images: int
    warmup_epochs: float
    subnets_per_step: int
    depths: tuple[int, ...]
    expands: tuple[float, ...] = ()
    kernels: tuple[int, ...] = ()
    width_mults: tuple[float, ...] = ()
    space: str = "ofa"
    sort_hidden: bool = False
    keep_expands: tuple[float, ...] = ()
    sandwich: bool = False

    def check(self, family: Family) -> None:
        """Raise InputError unless this is a stage that a supernet of `family` can be trained by."""
        what = f"stage {self.name}"
        _check_fields(self, what, zero=("warmup_epochs",))
        expands = family.axis_values("expand")
        for name, has in (
            ("depths", family.all_depths),
            ("expands", expands),
            ("kernels", family.axis_values("kernel")),
            ("width_mults", family.all_width_mults),
        ):
            choices = getattr(self, name)
            if not set(choices) <= set(has) or (name == "depths" and not choices):
                raise InputError(f"{what}: {name} is {list(choices)}, not some of {list(has)}")
        if not set(self.keep_expands) <= set(expands):
            raise InputError(f"{what}: keep_expands is {list(self.keep_expands)}, not of {list(expands)}")
        space = self.subspace(family)
        if self.sandwich and not all(space.contains(arch) for arch in self._extremes(family)):
            raise InputError(
                f"{what}: space {self.space} lacks the largest and the smallest subnet of a sandwich"
            )
        if self.sandwich and self.subnets_per_step < 2:
            raise InputError(f"{what}: a sandwich takes two or more subnets_per_step")

    def draw_archs(self, family: Family, rng: np.random.Generator, resolution: int) -> tuple[Arch, ...]:
        """The subnets of a step; of a sandwich the largest comes first and the smallest second."""
        space = self.subspace(family)
        first = self._extremes(family, resolution) if self.sandwich else ()
        random = (space.sample(rng, resolution) for _ in range(self.subnets_per_step - len(first)))
        return (*first, *random)

    def _extremes(self, family: Family, resolution: int | None = None) -> tuple[Arch, Arch]:
        part = self._part(family)
        largest, smallest = (extreme(part, largest=which, resolution=resolution) for which in (True, False))
        return largest, smallest

    def subspace(self, family: Family) -> Space:
        """What the stage draws its subnets from."""
        return get_space(self.space, self._part(family))

    def _part(self, family: Family) -> Family:
        elastic = {"expand": self.expands, "kernel": self.kernels, "width": self.width_mults}
        return family.restricted(self.depths, **{name: values for name, values in elastic.items() if values})


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
        extra_warmup: warm-up epochs come on top of a stage's `epochs`, and start from `base_lr`, as in the reference
            implementations; otherwise they are part of them, and start from zero.
        least_area, aspect, brightness, saturation: of photographs (:class:`compofa.data.Augmentation`).
        sync_bn: BN goes by the whole batch, not by each process's share of it.
        ema: decay of a moving average of the weights over a stage, which then is the result; 0 for none.
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
    extra_warmup: bool = False
    least_area: float = 0.35
    aspect: float = 1.0
    brightness: float = 0.0
    saturation: float = 0.0
    sync_bn: bool = False
    ema: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        family = get_family(self.family)
        _check_fields(self, f"recipe {self.name}", zero=("images_per_epoch", "seed", *_RATES))
        if not self.stages:
            raise InputError(f"recipe {self.name} has no stages: give it a [[stage]]")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise InputError(f"recipe {self.name}: two stages have the same name")
        for stage in self.stages:
            stage.check(family)
        if self.least_area > 1 or self.aspect < 1:
            raise InputError(f"recipe {self.name}: least_area is at most 1, aspect at least 1")

    @property
    def augmentation(self) -> Augmentation:
        """How training photographs are varied."""
        return Augmentation(self.least_area, self.aspect, self.brightness, self.saturation)

    @property
    def distils(self) -> bool:
        """Whether a stage needs a teacher."""
        return self.distill > 0 and not all(stage.sandwich for stage in self.stages)

    @classmethod
    def load(cls, name: str) -> Recipe:
        """A shipped recipe, or one from a ``.toml`` file.

        Raises:
            InputError: there is none, or a key is missing, unknown or of the wrong type.
            OSError: it cannot be read.
        """
        if name in RECIPES:
            text = (files("compofa") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        elif name.endswith(".toml") and Path(name).is_file():
            text = read_text(Path(name))
        else:
            raise InputError(f"unknown recipe {name!r}; there are {', '.join(RECIPES)}, or give a .toml file")
        try:
            return cls.parse(Path(name).stem, parse_toml(text))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    @classmethod
    def parse(cls, name: str, table: dict[str, Any]) -> Recipe:
        """The recipe of a TOML table, whose ``stage`` is a list of stages.

        Raises:
            InputError: a key is missing, unknown or of the wrong type.
        """
        table = dict(table)
        stages = table.pop("stage", [])
        if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
            raise InputError("stage must be a list of tables: [[stage]]")
        made = tuple(_from_table(Stage, f"stage {n}", table) for n, table in enumerate(stages, start=1))
        return _from_table(cls, "the recipe", table, name=name, stages=made)


_RATES = (
    "momentum",
    "weight_decay",
    "label_smoothing",
    "dropout",
    "distill",
    "brightness",
    "saturation",
    "ema",
)
_BELOW_ONE = ("momentum", "label_smoothing", "dropout", "brightness", "saturation", "ema")
_LARGEST = 1e9
"""Of any number in a recipe: what is larger is a mistake, and would overflow somewhere."""

Made = TypeVar("Made")


def _from_table(kind: type[Made], what: str, table: dict[str, Any], **given: Any) -> Made:
    """A dataclass from the keys of a TOML table and from what is `given`, which are no keys.

    Raises:
        InputError: a key is missing or unknown.
    """
    needed = {f.name: f.default is MISSING for f in fields(kind) if f.name not in given}  # type: ignore[arg-type]
    if unknown := sorted(table.keys() - needed.keys()):
        raise InputError(f"{what} has no {', '.join(unknown)}; it has {', '.join(sorted(needed))}")
    if missing := [key for key in needed if needed[key] and key not in table]:
        raise InputError(f"{what} lacks {', '.join(missing)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return kind(**given, **values)


def _check_fields(found: Recipe | Stage, what: str, zero: tuple[str, ...]) -> None:
    """Raise InputError unless every field is of the type that it is declared with, and in range.

    Args:
        found: what is looked at.
        what: its name in the message.
        zero: numbers that may be 0; others are above it.
    """
    for field in fields(found):
        name, value = field.name, getattr(found, field.name)
        if not _KINDS[str(field.type)](value):
            raise InputError(f"{what}: {name} is {value!r}, not {_WORDS[str(field.type)]}")
        if field.type in ("int", "float"):
            if not (0 <= value <= _LARGEST) or (value == 0 and name not in zero):
                raise InputError(
                    f"{what}: {name} is {value!r}, not {'0' if name in zero else 'above 0'} to 1e9"
                )
            if name in _BELOW_ONE and value >= 1:
                raise InputError(f"{what}: {name} is {value!r}, not below 1")


_KINDS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str) and bool(value),
    "bool": lambda value: type(value) is bool,
    "int": lambda value: type(value) is int,
    "float": lambda value: type(value) in (int, float),
    "tuple[int, ...]": lambda value: isinstance(value, tuple) and all(type(v) is int for v in value),
    "tuple[float, ...]": lambda value: (
        isinstance(value, tuple) and all(type(v) in (int, float) for v in value)
    ),
    "tuple[Stage, ...]": lambda value: isinstance(value, tuple),
}
_WORDS = {
    "str": "a text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "tuple[int, ...]": "a list of whole numbers",
    "tuple[float, ...]": "a list of numbers",
    "tuple[Stage, ...]": "a list of stages",
}
"""Of the types that fields are declared with: what is one, and how to call it."""
