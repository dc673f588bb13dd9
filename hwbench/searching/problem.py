"""What is searched: a space, the costs that are limited, and the accuracy that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compofa.spaces.layout import Genotypes
from compofa.spaces.space import Space
from hwbench.searching.additive import fit
from lut.lookup import Lookup

Floats = NDArray[np.float64]
COST_SAMPLES = 4_000
"""Random subnets that an additive stand-in of a cost that is no sum is fitted to."""


class Cost(Protocol):
    """What a search asks of a cost; each :class:`lut.costs.CostModel` answers."""

    @property
    def unit(self) -> str:
        """Of what it predicts, for messages."""

    def predict(self, genotypes: Genotypes) -> Floats:
        """Costs, shape (n,), of genotypes, shape (n, columns)."""

    def as_lookup(self) -> Lookup | None:
        """The same as arrays, if it is additive over blocks."""


@dataclass(frozen=True)
class Evaluated:
    """Subnets with what the predictors say of them.

    Args:
        genotypes: shape (n, columns).
        costs: shape (n, costs).
        accuracy: fractions, shape (n,).
    """

    genotypes: Genotypes
    costs: Floats
    accuracy: Floats

    def __len__(self) -> int:
        return len(self.accuracy)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Evaluated:
        """The subnets at `index`."""
        return Evaluated(self.genotypes[index], self.costs[index], self.accuracy[index])

    @classmethod
    def join(cls, parts: Sequence[Evaluated]) -> Evaluated:
        """The subnets of all `parts`, one after the other."""
        return cls(
            np.concatenate([part.genotypes for part in parts]),
            np.concatenate([part.costs for part in parts]),
            np.concatenate([part.accuracy for part in parts]),
        )

    def within(self, limits: Floats) -> NDArray[np.bool_]:
        """Which subnets meet `limits`, shape (costs,)."""
        return np.all(self.costs <= limits, axis=1)

    def best_within(self, limits: Floats) -> Evaluated:
        """The most accurate subnet that meets `limits`; the cheapest of several; none if none does."""
        fits = np.flatnonzero(self.within(limits))
        if not len(fits):
            return self.take(fits)
        accuracy = self.accuracy[fits]
        best = fits[accuracy == accuracy.max()]
        return self.take(best[[np.argmin(self.costs[best].sum(1))]])


@dataclass(frozen=True)
class Problem:
    """Find the subnets of `space` that no other beats in accuracy without losing in some cost.

    What the space forbids costs infinitely much: no limit is met by it, and nothing is beaten by it.

    Args:
        space: whose subnets.
        costs: that are limited, of the space's family.
        accuracy: accuracies (n,) of genotypes (n, columns).
        resolutions: indices of the family's resolutions to search, ascending; some subnet can run at each.
    """

    space: Space
    costs: tuple[Cost, ...]
    accuracy: Callable[[Genotypes], Floats]
    resolutions: tuple[int, ...]

    @cached_property
    def additive_costs(self) -> tuple[Lookup, ...]:
        """The costs as arrays; where one is not additive, what comes close to it."""
        return tuple(self._as_additive(cost) for cost in self.costs)

    @property
    def is_additive(self) -> bool:
        """Whether :attr:`additive_costs` are exact."""
        return all(cost.as_lookup() is not None for cost in self.costs)

    def _as_additive(self, cost: Cost) -> Lookup:
        found = cost.as_lookup()
        if found is None:
            genotypes = self.sample(COST_SAMPLES, np.random.default_rng(0))
            values = cost.predict(genotypes)
            found = fit(self.space.family, genotypes, values, (values.mean() / values) ** 2)
        return Lookup(found.family, found.fixed, np.where(self.space.runs, found.slots, np.inf))

    def overestimate(self, subnets: Evaluated) -> Floats:
        """The most by which :attr:`additive_costs` exceed the models' own answers for any of `subnets`, as a share of
        these, at least 0; shape (costs,)."""
        subnets = subnets.take(np.all(np.isfinite(subnets.costs), axis=1))
        stand_in = np.column_stack([cost.predict(subnets.genotypes) for cost in self.additive_costs])
        most: Floats = np.maximum((stand_in / subnets.costs).max(axis=0) - 1, 0.0)
        return most

    def near(self, unit: int, mine: Genotypes) -> Genotypes:
        """The ways to fill a unit, shape (n, most blocks), that differ from `mine`, shape (most blocks,), in one slot;
        where the space couples the slots of a unit, also those of another depth with the same free choices."""
        depth, values = len(mine), 1 + len(self.space.family.elastic_units[unit].choices)
        rows = np.tile(mine, (depth * values, 1)).astype(np.int16)
        rows[np.arange(len(rows)), np.repeat(np.arange(depth), values)] = np.tile(np.arange(values), depth)
        rows = rows[(rows != mine).any(axis=1)]
        rows = rows[self.space.fits_rule(unit, rows)]
        if not self.space.rule.coupled:
            return rows
        every, free = self._coupled_rows[unit]
        both = (every > 0) & (mine > 0)
        alike = ((free[every] == free[mine]) | ~both).all(axis=1) & (every != mine).any(axis=1)
        return np.unique(np.concatenate([rows, every[alike]]), axis=0)

    @cached_property
    def _coupled_rows(self) -> tuple[tuple[Genotypes, NDArray[np.intp]], ...]:
        """Of each unit: every way to fill it, and what is free in each choice, as a number."""
        found = []
        for number, unit in enumerate(self.space.family.elastic_units):
            at = next((i for i, axis in enumerate(unit.axes) if axis.name == self.space.rule.coupled), None)
            kept = [tuple(v for i, v in enumerate(choice) if i != at) for choice in unit.choices]
            numbers = {values: i for i, values in enumerate(dict.fromkeys(kept), start=1)}
            free = np.array([0, *(numbers[values] for values in kept)], dtype=np.intp)
            found.append((self.space.unit_genotypes(number), free))
        return tuple(found)

    def costs_of(self, genotypes: Genotypes) -> Floats:
        """All costs, shape (n, costs)."""
        found = np.full((len(genotypes), len(self.costs)), np.inf)
        runs = self.space.can_run(genotypes)
        some = genotypes if runs.all() else genotypes[runs]
        found[runs] = np.column_stack([cost.predict(some) for cost in self.costs])
        return found

    def evaluate(self, genotypes: Genotypes) -> Evaluated:
        """`genotypes`, shape (n, columns), with the predictors' answers."""
        return Evaluated(genotypes, self.costs_of(genotypes), self.accuracy(genotypes))

    def assemble(self, resolution: int, choice: Genotypes, widths: Genotypes) -> Genotypes:
        """Genotypes at one resolution, by its index, from the choices of all slots, shape (n, slots), and the widths of
        the units of several, shape (n, units of several widths)."""
        first = np.full((len(choice), 1), resolution, dtype=np.int16)
        return np.hstack([first, choice, widths])

    def sample(self, count: int, rng: np.random.Generator) -> Genotypes:
        """Random subnets: resolution, widths, the depth of each unit, then its blocks, uniformly over what can run as
        far as a unit knows; shape (count, columns)."""
        at = self.space.layout
        drawn = np.zeros((count, at.columns), dtype=np.int16)
        drawn[:, 0] = rng.choice(np.array(self.resolutions, np.int16), count)
        for column, unit in enumerate(at.wide_units, start=1 + at.slots):
            drawn[:, column] = rng.integers(at.width_count(unit), size=count)
        contexts = at.contexts_of(drawn)
        for unit in range(len(at.units)):
            numbers = rng.random((count, 1 + at.units[unit].max_depth))
            mine = contexts[unit if len(contexts) > 1 else 0]
            for context in np.unique(mine).tolist() if self.space.forbidden else (None,):
                rows = np.flatnonzero(mine == context) if context is not None else np.arange(count)
                drawn[rows, at.place(unit)] = self._fill(unit, context, numbers[rows])
        return drawn

    def _fill(self, unit: int, context: int | None, numbers: Floats) -> Genotypes:
        """Ways to fill a unit, one for each row of numbers from 0 to 1, shape (n, 1 + most blocks): all depths equally
        often, then all choices; of those that can run in a context, if it is given and any can."""
        ways = [(depth, [choices] * depth) for depth, choices in self.space.allowed[unit]]
        if context is not None:
            at = self.space.layout
            runs = self.space.runs[context, at.starts[unit] :]
            kept = [(depth, [c[runs[p, c]] for p, c in enumerate(slots)]) for depth, slots in ways]
            ways = [(depth, slots) for depth, slots in kept if all(map(len, slots))] or ways
        rows = np.zeros((len(numbers), numbers.shape[1] - 1), dtype=np.int16)
        which = (numbers[:, 0] * len(ways)).astype(np.intp)
        for number, (_, slots) in enumerate(ways):
            mine = np.flatnonzero(which == number)
            for position, choices in enumerate(slots):
                rows[mine, position] = choices[(numbers[mine, 1 + position] * len(choices)).astype(np.intp)]
        return rows

    def mutate(self, genotypes: Genotypes, probability: float, rng: np.random.Generator) -> Genotypes:
        """`genotypes` with the resolution, each unit and each width drawn anew with `probability`."""
        return self.mix(genotypes, self.sample(len(genotypes), rng), probability, rng)

    @cached_property
    def _groups(self) -> list[int]:
        """How many columns go together: the resolution, each unit, each width."""
        at = self.space.layout
        return [1, *(unit.max_depth for unit in at.units), *(1 for _ in at.wide_units)]

    def mix(self, one: Genotypes, two: Genotypes, probability: float, rng: np.random.Generator) -> Genotypes:
        """`one` with the resolution, each unit and each width taken from `two` with `probability`; all (n, columns)."""
        other = rng.random((len(one), len(self._groups))) < probability
        return np.where(np.repeat(other, self._groups, axis=1), two, one)

    def nudge(self, genotypes: Genotypes, share: float, rng: np.random.Generator) -> Genotypes:
        """`genotypes` with one slot or width drawn anew in a `share` of them, where the space allows what was drawn."""
        at = self.space.layout
        values = np.array([*(1 + at.choices), *(at.width_count(unit) for unit in at.wide_units)])
        rows = np.flatnonzero(rng.random(len(genotypes)) < share)
        changed = genotypes.copy()
        column = rng.integers(at.columns - 1, size=len(rows))
        changed[rows, 1 + column] = rng.integers(values[column])
        for unit in range(len(at.units)):
            outside = np.flatnonzero(~self.space.fits_rule(unit, changed[:, at.place(unit)]))
            changed[outside, at.place(unit)] = genotypes[outside, at.place(unit)]
        return changed
