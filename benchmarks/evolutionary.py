"""The evolutionary search that OFA and CompOFA publish, written from its description, as the baseline.

Source: Cai et al., arXiv:1908.09791 and Sahni et al., arXiv:2104.12642, after Real et al., arXiv:1802.01548: a
population of subnets that meet the constraint; in each generation the best quarter are parents, half of the
children are mutations of one parent (each gene drawn anew with a probability) and half are crossovers (each
gene from either of two parents); children that miss the constraint are drawn again. Unlike the published code
it gives up on a constraint that nothing meets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from compofa.spaces.arch import Arch
from compofa.spaces.space import Space

Genes = tuple[Any, ...]
MAX_DRAWS = 1_000_000


@dataclass(frozen=True)
class Evolution:
    """Settings, as published.

    Args:
        population: subnets in a generation.
        generations: how many.
        mutation: probability that a gene is drawn anew.
        mutation_ratio: share of the children that are mutations.
        parent_ratio: share of a generation that become parents.
    """

    population: int = 100
    generations: int = 500
    mutation: float = 0.1
    mutation_ratio: float = 0.5
    parent_ratio: float = 0.25


@dataclass(frozen=True)
class Genome:
    """How a space's subnets read as genes: the resolution, then per unit the kernels and expand ratios of
    all its blocks and the depth (OFA), or the coupled choice and the kernels (CompOFA).

    Args:
        space: whose subnets.
        resolutions: those searched, in pixels.
    """

    space: Space
    resolutions: tuple[int, ...]

    def alphabets(self) -> list[Sequence[float]]:
        """What each gene may be."""
        genes: list[Sequence[float]] = [self.resolutions]
        for unit, shapes in zip(self.space.family.elastic_units, self.space.shapes, strict=True):
            kernels, expands = shapes[-1].values
            genes += [kernels] * unit.max_depth
            genes += [range(len(shapes))] if self.space.rule.coupled else [expands] * unit.max_depth
            genes += [] if self.space.rule.coupled else [unit.depths]
        return genes

    def arch(self, genes: Genes) -> Arch:
        """The subnet of some genes."""
        most = self.space.family.elastic_units[0].max_depth
        size = most + 1 if self.space.rule.coupled else 2 * most + 1
        units = []
        for unit, start in enumerate(range(1, len(genes), size)):
            kernels, rest = genes[start : start + most], genes[start + most : start + size]
            if self.space.rule.coupled:
                depth, (_, (expand,)) = self.space.shapes[unit][rest[0]]
                units.append(tuple((kernel, expand) for kernel in kernels[:depth]))
            else:
                units.append(tuple(zip(kernels, rest[:-1], strict=True))[: rest[-1]])
        return Arch(genes[0], tuple(units))


def evolve(
    genome: Genome,
    latency_ms: Callable[[Arch], float],
    accuracy: Callable[[list[Arch]], np.ndarray],
    limit_ms: float,
    rng: np.random.Generator,
    settings: Evolution = Evolution(),
) -> tuple[Arch, float]:
    """The best subnet found within `limit_ms`, and its accuracy.

    Raises:
        RuntimeError: nothing that was drawn met the constraint.
    """
    alphabets = genome.alphabets()

    def within(draw: Callable[[], Genes]) -> Genes:
        for _ in range(MAX_DRAWS):
            genes = draw()
            if latency_ms(genome.arch(genes)) <= limit_ms:
                return genes
        raise RuntimeError(f"no subnet within {limit_ms} ms in {MAX_DRAWS} draws")

    def score(children: list[Genes]) -> list[tuple[float, Genes]]:
        return list(zip(accuracy([genome.arch(c) for c in children]).tolist(), children, strict=True))

    def random() -> Genes:
        return tuple(a[int(rng.random() * len(a))] for a in alphabets)

    def mutant(parent: Genes) -> Genes:
        fresh = zip(parent, alphabets, rng.random((2, len(parent))).T.tolist(), strict=True)
        return tuple(a[int(r * len(a))] if p < settings.mutation else gene for gene, a, (p, r) in fresh)

    def crossover(one: Genes, two: Genes) -> Genes:
        return tuple(
            a if first else b
            for a, b, first in zip(one, two, (rng.random(len(one)) < 0.5).tolist(), strict=True)
        )

    population = score([within(random) for _ in range(settings.population)])
    mutants = round(settings.mutation_ratio * settings.population)
    for _ in range(settings.generations):
        population.sort(reverse=True)
        population = population[: round(settings.parent_ratio * settings.population)]
        parents = [genes for _, genes in population]

        def pick(parents: list[Genes] = parents) -> Genes:
            return parents[int(rng.random() * len(parents))]

        children = []
        for number in range(settings.population):
            one, two = pick(), pick()
            if number < mutants:
                children.append(within(partial(mutant, one)))
            else:
                children.append(within(partial(crossover, one, two)))
        population += score(children)
    best, genes = max(population)
    return genome.arch(genes), best
