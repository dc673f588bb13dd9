"""The kinds of predictors that a fit chooses from.

Both are linear in their inputs, so one is a dense layer; they differ in what they look at: the one-hot subnet alone,
or the capacities of its units, too (:class:`compofa.accuracy.inputs.Capacities`), since accuracy saturates. What was
there before, a multi-layer perceptron and products of all inputs with the resolution, was worse on all data that we
have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.evidence import Regression, regress
from compofa.accuracy.inputs import (
    Capacities,
    Inputs,
    OneHot,
    all_inputs,
)
from compofa.accuracy.layers import Layers
from compofa.accuracy.spread import Spread
from compofa.spaces.family import Family
from compofa.spaces.features import feature_count
from compofa.spaces.layout import Genotypes, layout

Floats = NDArray[np.float64]
ANCHORS = 64, 200
"""Fewest and most."""
SUBNETS_AN_ANCHOR = 20
"""The more is known, the more bends can be told."""
SAME = 1e-6
"""Directions of the kernel that are so small, relative to the largest, are rounding."""
DIRECTIONS = 64
"""Of the uncertainty that are kept."""
CROSSED = 500
"""Subnets, crossed from measured ones, by which the largest of them are told."""


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted candidate.

    Args:
        inputs: what it looks at.
        layers: over them.
        spread: its standard deviations.
    """

    inputs: Inputs
    layers: Layers
    spread: Spread

    def __call__(self, family: Family, genotypes: Genotypes) -> tuple[Floats, Floats]:
        """Accuracies (n,) and standard deviations (n,) of genotypes (n, columns)."""
        x = all_inputs(self.inputs, family, genotypes)
        ((weight, bias),) = self.layers
        return (x @ weight[0] + bias[0]).astype(np.float64), self.spread(x)


Fit = Callable[[Family, Genotypes, Floats, Floats, int], Model]
"""Fits to subnets (n, columns) of a family that has their resolutions only, their accuracies (n,) and the known
variances of these (n,); by a seed."""


@dataclass(frozen=True)
class Candidate:
    """A kind of predictor to choose from."""

    name: str
    fit: Fit


def _linear(inputs: Inputs) -> Fit:
    def fit(family: Family, genotypes: Genotypes, accuracy: Floats, variance: Floats, seed: int) -> Model:
        return _fit_groups(family, genotypes, accuracy, variance, inputs, None, seed)

    return fit


def _capacities(family: Family, genotypes: Genotypes, accuracy: Floats, variance: Floats, seed: int) -> Model:
    count = int(np.clip(len(genotypes) // SUBNETS_AN_ANCHOR, *ANCHORS))
    anchors = crossed(family, genotypes, count, np.random.default_rng(seed))
    inputs = Capacities(anchors)
    values, vectors = np.linalg.eigh(inputs.kernel(family))
    kept = values > SAME * values[-1]
    return _fit_groups(
        family, genotypes, accuracy, variance, inputs, vectors[:, kept] / np.sqrt(values[kept]), seed
    )


CANDIDATES = (
    Candidate("ridge", _linear(OneHot())),
    Candidate("capacities", _capacities),
)


def crossed(family: Family, genotypes: Genotypes, count: int, rng: np.random.Generator) -> Genotypes:
    """Subnets, each of which has its resolution, units and widths from either of two of `genotypes`."""
    at = layout(family)
    groups = [1, *(unit.max_depth for unit in at.units), *(1 for _ in at.wide_units)]
    one, two = (genotypes[rng.integers(len(genotypes), size=count)] for _ in range(2))
    other = rng.random((count, len(groups))) < 0.5
    found: Genotypes = np.where(np.repeat(other, groups, axis=1), two, one)
    return found


def _fit_groups(
    family: Family,
    genotypes: Genotypes,
    accuracy: Floats,
    variance: Floats,
    inputs: Inputs,
    whiten: Floats | None,
    seed: int,
) -> Model:
    """A linear model whose groups are the one-hot slots, the resolutions, and what `inputs` has more; the last group is
    multiplied by `whiten` for the fit, if that is given, which is then folded into the weights."""
    x = all_inputs(inputs, family, genotypes)
    sizes = [feature_count(family), len(family.resolutions), *inputs.groups(family)]
    groups = [part.astype(float) for part in np.split(x, np.cumsum(sizes)[:-1], axis=1)]
    fold = np.eye(x.shape[1])
    if whiten is not None:
        groups[-1] = groups[-1] @ whiten
        fold = np.zeros((x.shape[1], x.shape[1] - len(whiten) + whiten.shape[1]))
        kept = x.shape[1] - len(whiten)
        fold[:kept, :kept], fold[kept:, kept:] = np.eye(kept), whiten
    found = regress(groups, accuracy, variance)
    around = crossed(family, genotypes, CROSSED, np.random.default_rng(seed))
    spread = _spread(found, fold, all_inputs(inputs, family, around))
    weight = fold @ found.weight
    bias = found.mean - found.centre @ found.weight
    layers = ((weight[None].astype(np.float32), np.array([bias], dtype=np.float32)),)
    return Model(inputs, layers, spread)


def _spread(found: Regression, fold: Floats, around: NDArray[np.float32]) -> Spread:
    """The uncertainty of a regression over inputs times `fold`, by its largest directions among the subnets with
    inputs `around` (n, d)."""
    own = around @ fold - found.centre
    scale = np.sqrt((own**2).mean(0)) + 1e-9
    values, vectors = np.linalg.eigh(scale[:, None] * found.covariance * scale)
    values, vectors = values[::-1][:DIRECTIONS].clip(min=0), vectors[:, ::-1][:, :DIRECTIONS]
    directions = (np.sqrt(values) * vectors / scale[:, None]).T
    whole = ((own @ found.covariance) * own).sum(1)
    rest = max(float((whole - ((own @ directions.T) ** 2).sum(1)).mean()), 0.0)
    return Spread(
        (directions @ fold.T).astype(np.float32),
        (-directions @ found.centre).astype(np.float32),
        found.noise + rest,
    )
