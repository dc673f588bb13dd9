"""What a supernet is: enough to tell whether accuracies, a data set or a run belong to it.

Older files say less of themselves. What one side does not say is unknown, and is not compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

UNKNOWN = None


@dataclass(frozen=True)
class SupernetIdentity:
    """What a supernet's file says of itself.

    Args:
        sha256: of the file.
        family: name of the family.
        classes: outputs of the classifier.
        class_names: what each of them stands for.
        recipe: name of the recipe that trained it.
        data: training split, as in logs.
        data_source: what ``--data`` loads it by, as it was then.
        teacher_sha256: of the file that it was distilled from.
        precision: that it was trained in, ``fp32``, ``bf16`` or ``fp16``.
        normalisation: of the images that it was trained on (:data:`compofa.data.base.NORMALISATIONS`).
    """

    sha256: str
    family: str
    classes: int
    class_names: tuple[str, ...] | None = UNKNOWN
    recipe: str | None = UNKNOWN
    data: str | None = UNKNOWN
    data_source: str | None = UNKNOWN
    teacher_sha256: str | None = UNKNOWN
    precision: str | None = UNKNOWN
    normalisation: str | None = UNKNOWN


def differences(mine: object, other: object, names: Sequence[str] = ()) -> list[str]:
    """Which fields of two dataclasses differ, in words, where both are known.

    Args:
        mine: one.
        other: the other, which has the fields that are compared.
        names: of the fields that are compared; all of `mine` unless given.
    """
    names = names or [field.name for field in fields(mine)]  # type: ignore[arg-type]
    pairs = ((name, getattr(mine, name), getattr(other, name)) for name in names)
    return [
        f"{name.replace('_', ' ')}: {_short(ours)}, not {_short(theirs)}"
        for name, ours, theirs in pairs
        if ours is not UNKNOWN and theirs is not UNKNOWN and ours != theirs
    ]


def _short(value: object) -> str:
    text = str(value)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]  # a hash
    return text if len(text) <= 60 else text[:57] + "..."


def hash_names(names: Sequence[str]) -> str:
    """The SHA-256 of class names in label order."""
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()
