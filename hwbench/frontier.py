"""Joining accuracy with latency: clouds of subnets, their frontiers and hypervolumes."""

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
"""Of the columns (latency_ms, accuracy)."""


@dataclass(frozen=True)
class Cloud:
    """Subnets with their latency and accuracy.

    Args:
        genotypes: shape (n, 1 + slots).
        latency_ms: shape (n,).
        accuracy: fractions, shape (n,).
    """

    family: Family
    genotypes: Genotypes
    latency_ms: Floats
    accuracy: Floats

    def __len__(self) -> int:
        return len(self.latency_ms)

    @property
    def points(self) -> Floats:
        """(latency_ms, accuracy), shape (n, 2)."""
        return np.column_stack([self.latency_ms, self.accuracy])

    def take(self, index: NDArray[np.intp]) -> Cloud:
        """The subnets at `index`, in its order."""
        return Cloud(self.family, self.genotypes[index], self.latency_ms[index], self.accuracy[index])

    def join(self, other: Cloud) -> Cloud:
        """The subnets of both, this cloud's first."""
        return Cloud(
            self.family,
            np.concatenate([self.genotypes, other.genotypes]),
            np.concatenate([self.latency_ms, other.latency_ms]),
            np.concatenate([self.accuracy, other.accuracy]),
        )

    def archs(self) -> list[Arch]:
        """The subnets."""
        return decode(self.family, self.genotypes)

    def frontier(self) -> Cloud:
        """The subnets that no other beats in one objective without losing in the other, by rising latency.

        Of several with the same latency and accuracy one is kept.
        """
        index = np.flatnonzero(moocore.is_nondominated(self.points, maximise=MAXIMISE))
        return self.take(index[np.argsort(self.latency_ms[index], kind="stable")])

    def hypervolume(self, reference: tuple[float, float]) -> float:
        """Area that the cloud dominates, in ms x accuracy.

        Args:
            reference: (latency_ms, accuracy); points that are worse in either count for nothing.
        """
        return float(moocore.hypervolume(self.points, ref=np.array(reference), maximise=MAXIMISE))
