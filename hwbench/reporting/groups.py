"""What is gathered for a report: groups of tables that may be compared, with the subnets to choose among."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.origin import AccuracyOrigin
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes
from compofa.spaces.registry import get_family
from compofa.spaces.space import Space
from lut.calibration import Calibration
from lut.model import LatencyModel

SPACES = ("compofa", "ofa")
"""That are shown unless others are asked for."""


@dataclass(frozen=True)
class Device:
    """A table.

    Args:
        path: as given.
        name: that tells it from the others of its group.
        model: its latencies, calibrated where the calibration is to be trusted.
        calibration: the networks measured beside it; None if there are none.
    """

    path: Path
    name: str
    model: LatencyModel
    calibration: Calibration | None


@dataclass(frozen=True)
class SpaceSubnets:
    """The subnets of a space that are shown.

    Args:
        space: whose.
        file: of the accuracies.
        of: what those are of.
        genotypes: measured ones first, shape (n, columns).
        accuracy: fractions, shape (n,).
        measured: how many were measured; the others have predicted accuracy.
        complete: every subnet of the space was measured.
        error: mean absolute error of predicted accuracies on held-out subnets; None if it is not known.
        supernet: the supernet's file; None if it was not given and is not shipped.
    """

    space: Space
    file: Path
    of: AccuracyOrigin
    genotypes: Genotypes
    accuracy: NDArray[np.float64]
    measured: int
    complete: bool
    error: float | None
    supernet: Path | None


@dataclass
class Group:
    """Tables that may be compared: of one family, precision and batch.

    Args:
        family: with the classes of the tables.
        precision: number format of the latencies.
        batch: images in one run.
        devices: the tables.
        spaces: the subnets; empty where no accuracy is known.
        notes: what is left out, and why, in lines.
    """

    family: Family
    precision: str
    batch: int
    devices: list[Device]
    spaces: list[SpaceSubnets] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """For people: ``glyphs, fp32, batch 1``."""
        classes = classes_of(self.family)
        return f"{self.family.name}{classes}, {self.precision}, batch {self.batch}"


def classes_of(family: Family) -> str:
    """``, 10 classes`` where they are not the family's own, else nothing."""
    return "" if family.classes == get_family(family.name).classes else f", {family.classes} classes"
