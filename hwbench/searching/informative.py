"""Which subnets to measure next: those whose measurement is likely to move what a search answers with the most.

What a search answers is the best measured accuracy within each of some limits; a frontier is all limits, evenly spread
over its costs, so that their mean is its hypervolume but for a constant. A subnet whose accuracy is known to a normal
distribution raises each limit that it meets by its expected improvement (Jones et al., Journal of Global Optimization
13, 1998); of several subnets each is held against those chosen before it as if they had come out as predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbench.searching.problem import Evaluated, Floats

LIMITS = 128
"""That stand for a frontier of one cost."""
DRAWS = 256
"""Of the accuracies of what is chosen."""
APART = 3
"""Entries of their genotypes in which subnets that are measured together differ at least: whoever knows one knows the
other nearly."""


@dataclass(frozen=True)
class Wanted:
    """The limits that count, and what is within each of them already.

    Args:
        limits: shape (limits, costs).
        best: the best measured accuracy within each, shape (limits,); 0 where nothing that was measured meets it.
    """

    limits: Floats
    best: Floats

    @classmethod
    def of(cls, limits: Floats, measured: Evaluated) -> Wanted:
        """Where `measured` has got within `limits`, shape (limits, costs)."""
        fits = _fits(measured, limits)
        return cls(limits, np.where(fits, measured.accuracy[:, None], 0.0).max(axis=0, initial=0.0))

    def choose(self, candidates: Evaluated, deviation: Floats, count: int) -> tuple[NDArray[np.intp], float]:
        """The `count` candidates, or fewer, to measure next, the most promising first; and by how much they are
        expected to raise the best accuracy, in the mean over the limits.

        Args:
            candidates: with accuracies as predicted.
            deviation: standard deviations of these, shape (candidates,).
            count: at most so many; none that promises nothing is chosen.
        """
        fits, best = _fits(candidates, self.limits), self.best.copy()
        chosen: list[int] = []
        free = np.ones(len(candidates), dtype=bool)
        while len(chosen) < count and free.any():
            gain = np.where(fits, _improvement(candidates.accuracy, deviation, best), 0.0).mean(axis=1)
            gain[~free] = 0.0
            if not gain.max() > 0:
                break
            most = int(np.argmax(gain))
            chosen.append(most)
            free &= (candidates.genotypes != candidates.genotypes[most]).sum(axis=1) >= APART
            best = np.where(fits[most], np.maximum(best, candidates.accuracy[most]), best)
        index = np.array(chosen, dtype=np.intp)
        return index, self._expected(candidates.accuracy[index], deviation[index], fits[index])

    def _expected(self, mean: Floats, deviation: Floats, fits: NDArray[np.bool_]) -> float:
        """By how much the best of them, with independent errors, is expected to raise the best accuracies."""
        drawn = mean + deviation * np.random.default_rng(0).standard_normal((DRAWS, len(mean)))
        reached = np.where(fits, drawn[:, :, None], 0.0).max(axis=1, initial=0.0)
        return float(np.maximum(reached - self.best, 0.0).mean())


def frontier_limits(frontier: Evaluated, measured: Evaluated) -> Floats:
    """Limits that stand for a whole frontier, shape (limits, costs): of one cost evenly spread, as far as the dearest
    subnet of `measured`, from which hypervolumes are counted (what is best of all counts within each limit beyond the
    frontier); of several the costs of its subnets."""
    if frontier.costs.shape[1] > 1:
        return frontier.costs
    own = measured.costs[np.isfinite(measured.costs[:, 0]), 0]
    least, most = frontier.costs[:, 0].min(), max(frontier.costs[:, 0].max(), own.max(initial=0.0))
    return np.linspace(least, most, LIMITS)[:, None]


def _fits(subnets: Evaluated, limits: Floats) -> NDArray[np.bool_]:
    """Which subnets meet which limits, shape (subnets, limits)."""
    return np.all(subnets.costs[:, None, :] <= limits[None], axis=2)


def _improvement(mean: Floats, deviation: Floats, best: Floats) -> Floats:
    """Expected improvement of normal variables (n,) over numbers (m,), shape (n, m)."""
    from scipy.special import ndtr

    above = mean[:, None] - best
    z = above / deviation[:, None]
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    found: Floats = deviation[:, None] * density + above * ndtr(z)
    return found
