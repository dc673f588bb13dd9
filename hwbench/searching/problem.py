"""What is searched: a space, the latencies that are limited, and the accuracy that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compofa.genotype import Genotypes
from compofa.spaces import Space
from hwbench.searching.additive import Additive, fit
from lut.lookup import Lookup

Floats = NDArray[np.float64]
LATENCY_SAMPLES = 4_000
"""Random subnets that an additive stand-in of a latency model is fitted to."""


class Latency(Protocol):
    """A latency model of subnets; additive if it is a :class:`lut.lookup.Lookup`."""

    def predict_ms(self, genotypes: Genotypes) -> Floats:
        """Latencies, shape (n,), of genotypes, shape (n, 1 + slots)."""


@dataclass(frozen=True)
class Evaluated:
    """Subnets with what the predictors say of them.

    Args:
        genotypes: shape (n, 1 + slots).
        latency_ms: one column a target, shape (n, targets).
        accuracy: fractions, shape (n,).
    """

    genotypes: Genotypes
    latency_ms: Floats
    accuracy: Floats

    def __len__(self) -> int:
        return len(self.accuracy)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Evaluated:
        """The subnets at `index`."""
        return Evaluated(self.genotypes[index], self.latency_ms[index], self.accuracy[index])

    @classmethod
    def join(cls, parts: Sequence[Evaluated]) -> Evaluated:
        """The subnets of all `parts`, one after the other."""
        return cls(
            np.concatenate([part.genotypes for part in parts]),
            np.concatenate([part.latency_ms for part in parts]),
            np.concatenate([part.accuracy for part in parts]),
        )

    def within(self, limits_ms: Floats) -> NDArray[np.bool_]:
        """Which subnets meet `limits_ms`, shape (targets,)."""
        return np.all(self.latency_ms <= limits_ms, axis=1)

    def best_within(self, limits_ms: Floats) -> Evaluated:
        """The most accurate subnet that meets `limits_ms`; the fastest of several; none if none does."""
        fits = np.flatnonzero(self.within(limits_ms))
        if not len(fits):
            return self.take(fits)
        accuracy = self.accuracy[fits]
        best = fits[accuracy == accuracy.max()]
        return self.take(best[[np.argmin(self.latency_ms[best].sum(1))]])


def _draw(rows: Genotypes, number: Floats) -> Genotypes:
    """Of ways to fill a unit, shape (n, max_depth), one for each number from 0 to 1: all depths equally often."""
    depth = (rows > 0).sum(1)
    weight = 1 / np.bincount(depth)[depth]
    edges = np.cumsum(weight) / weight.sum()
    index = np.searchsorted(edges, number, side="right")
    return rows[np.minimum(index, len(rows) - 1)]


@dataclass(frozen=True)
class Problem:
    """Find the subnets of `space` that no other beats in accuracy without losing in some latency.

    What the space forbids takes infinitely long: no limit is met by it, and nothing is beaten by it.

    Args:
        space: whose subnets.
        latencies: one latency model a target, of the space's family.
        accuracy: accuracies (n,) of genotypes (n, 1 + slots).
        resolutions: indices of the family's resolutions to search, ascending; some subnet can run at each.
    """

    space: Space
    latencies: tuple[Latency, ...]
    accuracy: Callable[[Genotypes], Floats]
    resolutions: tuple[int, ...]

    @cached_property
    def latency(self) -> tuple[Additive, ...]:
        """The latencies as arrays; where a model is not additive, what comes close to it."""
        return tuple(self._as_additive(latency) for latency in self.latencies)

    @property
    def is_additive(self) -> bool:
        """Whether :attr:`latency` is exact for every target."""
        return all(isinstance(latency, Lookup) for latency in self.latencies)

    def _as_additive(self, latency: Latency) -> Additive:
        if isinstance(latency, Lookup):
            return Additive(latency.fixed_ms, np.where(self.space.runs, latency.slot_ms, np.inf))
        genotypes = self.sample(LATENCY_SAMPLES, np.random.default_rng(0))
        latency_ms = latency.predict_ms(genotypes)
        found = fit(self.space.family, genotypes, latency_ms, (latency_ms.mean() / latency_ms) ** 2)
        return Additive(found.fixed, np.where(self.space.runs, found.slots, np.inf))

    def overestimate(self, subnets: Evaluated) -> Floats:
        """The most by which :attr:`latency` exceeds the models' own answers for any of `subnets`, as a share of
        these, at least 0; shape (targets,)."""
        subnets = subnets.take(np.all(np.isfinite(subnets.latency_ms), axis=1))
        stand_in = np.column_stack([latency(subnets.genotypes) for latency in self.latency])
        most: Floats = np.maximum((stand_in / subnets.latency_ms).max(axis=0) - 1, 0.0)
        return most

    @cached_property
    def units(self) -> tuple[Genotypes, ...]:
        """Every way to fill each unit, shape (unit_size, max_depth) each."""
        return tuple(self.space.unit_genotypes(unit) for unit in range(len(self.space.family.units)))

    @cached_property
    def places(self) -> tuple[NDArray[np.intp], ...]:
        """Of each unit: where its ways find their slots' values in arrays (slots, 1 + choices), shape
        (max_depth, unit_size) each: slots first, so that a sum over them adds whole vectors."""
        depth = self.space.family.max_depth
        first = (np.arange(depth) * self._base)[:, None]
        return tuple(
            np.ascontiguousarray(rows.T.astype(np.intp) + first + unit * depth * self._base)
            for unit, rows in enumerate(self.units)
        )

    @cached_property
    def _row_of_code(self) -> tuple[NDArray[np.intp], ...]:
        """Of each unit: the row of :attr:`units` that reads as a number in base 1 + choices, else -1."""
        tables = []
        for rows in self.units:
            table = np.full(self._base ** rows.shape[1], -1, dtype=np.intp)
            table[rows @ self._places(rows.shape[1])] = np.arange(len(rows))
            tables.append(table)
        return tuple(tables)

    @property
    def _base(self) -> int:
        return 1 + len(self.space.family.kernels) * len(self.space.family.expands)

    def _places(self, digits: int) -> NDArray[np.intp]:
        return self._base ** np.arange(digits, dtype=np.intp)

    def near(self, unit: int, mine: Genotypes) -> NDArray[np.intp]:
        """The rows of :attr:`units` that differ from `mine`, shape (max_depth,), in one slot; where the space
        couples the slots of a unit, also those of another depth with the same kernels."""
        places = self._places(len(mine))
        others = (np.arange(self._base) - mine[:, None].astype(np.intp)) * places[:, None]
        rows = self._row_of_code[unit][mine @ places + others[others != 0]]
        rows = rows[rows >= 0]
        if not self.space.compound:
            return rows
        every, kernels = self.units[unit], len(self.space.family.kernels)
        both = (every > 0) & (mine > 0)
        alike = ((every % kernels == mine % kernels) | ~both).all(1) & (every != mine).any(1)
        return np.union1d(rows, np.flatnonzero(alike))

    def latency_ms(self, genotypes: Genotypes) -> Floats:
        """Latencies, shape (n, targets)."""
        latency_ms = np.full((len(genotypes), len(self.latencies)), np.inf)
        runs = self.space.can_run(genotypes)
        some = genotypes if runs.all() else genotypes[runs]
        latency_ms[runs] = np.column_stack([latency.predict_ms(some) for latency in self.latencies])
        return latency_ms

    def evaluate(self, genotypes: Genotypes) -> Evaluated:
        """`genotypes`, shape (n, 1 + slots), with the predictors' answers."""
        return Evaluated(genotypes, self.latency_ms(genotypes), self.accuracy(genotypes))

    def assemble(self, resolution: int, choice: NDArray[np.intp]) -> Genotypes:
        """Genotypes at one resolution, by its index, from the row of each unit: `choice` has shape (n, units)."""
        parts = [rows[choice[:, u]] for u, rows in enumerate(self.units)]
        first = np.full((len(choice), 1), resolution, dtype=np.int16)
        return np.hstack([first, *parts])

    def sample(self, count: int, rng: np.random.Generator) -> Genotypes:
        """Random subnets that can run: resolution, then the depth of each unit, then its blocks, uniformly; shape
        (count, 1 + slots)."""
        resolution = rng.choice(np.array(self.resolutions, np.int16), count)
        parts: list[Genotypes] = [resolution[:, None]]
        for unit, rows in enumerate(self.units):
            number, drawn = rng.random(count), np.empty((count, rows.shape[1]), dtype=np.int16)
            for r in self.resolutions if self.space.forbidden else ():
                mine = resolution == r
                drawn[mine] = _draw(rows[self._fits(unit, rows, r)], number[mine])
            parts.append(drawn if self.space.forbidden else _draw(rows, number))
        return np.hstack(parts)

    def _fits(self, unit: int, rows: Genotypes, resolution: int) -> NDArray[np.bool_]:
        """Which ways to fill a unit, shape (n, max_depth), can run at one resolution, by its index; shape (n,)."""
        slots = unit * rows.shape[1] + np.arange(rows.shape[1])
        fits: NDArray[np.bool_] = self.space.runs[resolution, slots, rows].all(axis=1)
        return fits

    def mutate(self, genotypes: Genotypes, probability: float, rng: np.random.Generator) -> Genotypes:
        """`genotypes` with the resolution and each unit drawn anew with `probability`."""
        return self.mix(genotypes, self.sample(len(genotypes), rng), probability, rng)

    def mix(self, one: Genotypes, two: Genotypes, probability: float, rng: np.random.Generator) -> Genotypes:
        """`one` with the resolution and each unit taken from `two` with `probability`; all (n, 1 + slots)."""
        other = rng.random((len(one), 1 + len(self.units))) < probability
        spread = np.repeat(other, [1, *(rows.shape[1] for rows in self.units)], axis=1)
        return np.where(spread, two, one)

    def nudge(self, genotypes: Genotypes, share: float, rng: np.random.Generator) -> Genotypes:
        """`genotypes` with one slot drawn anew in a `share` of them, where the space allows what was drawn."""
        depth = self.space.family.max_depth
        rows = np.flatnonzero(rng.random(len(genotypes)) < share)
        changed = genotypes.copy()
        slot = rng.integers(self.space.family.slots, size=len(rows))
        changed[rows, 1 + slot] = rng.integers(self._base, size=len(rows))
        for unit, known in enumerate(self._row_of_code):
            place = slice(1 + unit * depth, 1 + (unit + 1) * depth)
            outside = known[changed[:, place] @ self._places(depth)] < 0
            changed[outside, place] = genotypes[outside, place]
        return changed
