"""Where a run starts from, and whom it learns from."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from compofa.checkpoint import open_supernet
from compofa.data import ImageData, class_differences
from compofa.errors import InputError
from compofa.recipe import Recipe
from compofa.spaces.arch import extreme
from compofa.spaces.family import Family
from compofa.supernet import Supernet
from compofa.training.norms import normalise_by_batch


class Start(NamedTuple):
    """What a run starts with.

    Args:
        supernet: with its first weights.
        teacher: the largest subnet of those, in training by batches' statistics; None if the recipe distils from none.
        teacher_sha256: of the file that both are from.
    """

    supernet: Supernet
    teacher: nn.Module | None
    teacher_sha256: str | None


def start(recipe: Recipe, family: Family, data: ImageData, path: Path | None) -> Start:
    """Supernet and teacher of a run.

    Args:
        recipe: what to do.
        family: with the classes of the data.
        data: training images.
        path: a supernet file whose largest subnet is start and teacher; None starts from scratch.

    Raises:
        InputError: the recipe distils and there is no teacher; the teacher is of another family or of other classes.
    """
    if path is None:
        if recipe.distils:
            raise InputError(f"recipe {recipe.name} distils from a teacher: give one with --teacher FILE")
        return Start(Supernet(family, recipe.kernel_transform), None, None)
    supernet, identity = open_supernet(path, recipe.family, recipe.kernel_transform)
    if identity.classes != family.classes:
        raise InputError(f"{path} tells {identity.classes} classes apart, {recipe.data} has {family.classes}")
    if identity.class_names not in (None, data.class_names):
        words = class_differences(identity.class_names or (), data.class_names)
        raise InputError(f"{recipe.data} {words}: {path} tells other classes apart")
    teacher = None
    if recipe.distils:
        teacher = supernet.extract(extreme(family, largest=True)).requires_grad_(False)
        normalise_by_batch(teacher)
    return Start(supernet, teacher, identity.sha256)
