"""Files of accuracies as they are given, or what is shipped in their place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench import shipped

if TYPE_CHECKING:
    from compofa.spaces.family import Family


def accuracy_files(spaces: Sequence[str], family: Family, given: Sequence[Path] | None) -> list[Path]:
    """The accuracy file of each space.

    Raises:
        ValueError: there are neither one nor as many as spaces, or none is given or shipped.
    """
    if not given:
        return [shipped.accuracies(family.name, space) for space in spaces]
    if len(given) not in (1, len(spaces)):
        raise InputError(f"{len(given)} times --accuracy for {len(spaces)} spaces: give one, or one for each")
    return list(given) * (len(spaces) if len(given) == 1 else 1)
