"""Joining accuracy with a cost: clouds of subnets, their frontiers and hypervolumes."""

from __future__ import annotations

from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from compofa.spaces.arch import Arch
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, decode

Floats = NDArray[np.float64]
MAXIMISE = (False, True)
"""Of the columns (cost, accuracy)."""


@dataclass(frozen=True)
class Cloud:
    """Subnets with what they cost and their accuracy.

    Args:
        genotypes: shape (n, 1 + slots).
        cost: shape (n,).
        accuracy: fractions, shape (n,).
    """

    family: Family
    genotypes: Genotypes
    cost: Floats
    accuracy: Floats

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def points(self) -> Floats:
        """(cost, accuracy), shape (n, 2)."""
        return np.column_stack([self.cost, self.accuracy])

    def take(self, index: NDArray[np.intp]) -> Cloud:
        """The subnets at `index`, in its order."""
        return Cloud(self.family, self.genotypes[index], self.cost[index], self.accuracy[index])

    def join(self, other: Cloud) -> Cloud:
        """The subnets of both, this cloud's first."""
        return Cloud(
            self.family,
            np.concatenate([self.genotypes, other.genotypes]),
            np.concatenate([self.cost, other.cost]),
            np.concatenate([self.accuracy, other.accuracy]),
        )

    def archs(self) -> list[Arch]:
        """The subnets."""
        return decode(self.family, self.genotypes)

    def frontier(self) -> Cloud:
        """The subnets that no other beats in one objective without losing in the other, by rising cost.

        Of several with the same cost and accuracy one is kept.
        """
        index = np.flatnonzero(moocore.is_nondominated(self.points, maximise=MAXIMISE))
        return self.take(index[np.argsort(self.cost[index], kind="stable")])

    def hypervolume(self, reference: tuple[float, float]) -> float:
        """Area that the cloud dominates, in the unit of the cost x accuracy.

        Args:
            reference: (cost, accuracy); points that are worse in either count for nothing.
        """
        return float(moocore.hypervolume(self.points, ref=np.array(reference), maximise=MAXIMISE))
