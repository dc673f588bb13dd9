"""The latency of whole networks from a table: its sums, corrected by a few terms that are fitted.

Blocks measured one at a time miss what happens between them: the call of the runtime, the hand-over from
block to block, weights and activations that are no longer in the cache. Each of these is additive over
blocks, too, so the corrected model folds into the same arrays as the table itself (:mod:`lut.lookup`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.base import Network
from compofa.blocks import Block
from compofa.spaces.layout import Genotypes
from lut.lookup import Lookup
from lut.of_table import OfTable
from lut.robust import HUBER_ROUNDS, huber_weights
from lut.table import Table

Floats = NDArray[np.float64]

BLOCK_TERMS: dict[str, Callable[[Block], float]] = {
    "blocks": lambda block: 1.0,
    "se": lambda block: float(block.se),
    "activations": lambda block: (math.prod(block.in_shape) + math.prod(block.out_shape)) / 1e6,
    "weights": lambda block: block.params / 1e6,
}
"""What a block contributes to each term: itself, its SE, millions of activations in and out for one image,
millions of weights."""

TERMS = ("scale", "call", *BLOCK_TERMS)
"""``scale`` multiplies the table's sum, ``call`` is a constant, the others are sums over blocks."""
SCALE = TERMS.index("scale")

CANDIDATES: tuple[tuple[str, ...], ...] = (
    ("scale",),
    ("scale", "call"),
    ("scale", "blocks"),
    ("scale", "call", "weights"),
    ("scale", "call", "activations"),
    ("scale", "blocks", "weights"),
    ("scale", "blocks", "activations"),
    ("scale", "call", "activations", "weights"),
    ("scale", "blocks", "activations", "weights"),
    ("scale", "call", "blocks", "se", "activations", "weights"),
)
"""The sets of terms that :func:`choose_terms` compares, simplest first."""


@dataclass(frozen=True)
class LatencyModel(OfTable):
    """Latencies of networks as a table's sums plus terms, all additive over blocks.

    Args:
        table: the blocks' latencies.
        coefficients: of some of :data:`TERMS`: a factor for ``scale``, milliseconds per unit for the others.
        caution: what whoever uses it must know, in a line; None if nothing.
    """

    coefficients: Mapping[str, float] = field(default_factory=lambda: {"scale": 1.0})
    caution: str | None = None

    @property
    def calibrated(self) -> bool:
        """Whether this is more than the table's plain sums."""
        return dict(self.coefficients) != {"scale": 1.0}

    @property
    def provenance(self) -> str:
        """How the answers come about, and what the table's own entries are unless all were measured."""
        how = "predicted by the calibrated table" if self.calibrated else "sum of the table's entries"
        return how if self.table.origin == "measured" else f"{how}, {self.table.provenance}"

    def block_ms(self, block: Block, resolution: int | None = None) -> float:
        """What `block` adds to a network, of `resolution` if one is given; NaN if it is not in the table."""
        latency = self._weight("scale") * self.table.block_ms(block, resolution)
        return latency + sum(self._weight(name) * term(block) for name, term in BLOCK_TERMS.items())

    def latency_ms(self, blocks: Iterable[Block]) -> float:
        """Predicted end-to-end latency of a network.

        Raises:
            MissingEntry: some blocks are not in the table; names the first and says how many.
        """
        blocks = tuple(blocks)
        self.table.latency_ms(blocks)
        resolution = self.table.resolution_of(blocks)
        return self._weight("call") + math.fsum(self.block_ms(block, resolution) for block in blocks)

    # --- as a lut.costs.CostModel ---

    name = "latency_ms"
    label = "latency (ms)"
    unit = "ms"

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup.build(self.family, self.block_ms, self._weight("call"))

    def as_lookup(self) -> Lookup | None:
        """The model as arrays over the genotypes of its family, if it is a sum over blocks."""
        return self._lookup

    def predict(self, genotypes: Genotypes) -> Floats:
        """:meth:`latency_ms` of each subnet, shape (n,), from genotypes of shape (n, columns).

        Raises:
            MissingEntry: a subnet has a block that is not in the table.
            InputError: they are not genotypes of the family.
        """
        return self._lookup.predict(genotypes)

    def describe(self, file: Path | None) -> dict[str, Any]:
        """File, target, and how the latencies come about, JSON-ready."""
        return {
            "lut": file and str(file),
            "latency": self.provenance,
            "blocks": self.table.origins,
            **self.target.to_dict(),
        }

    def _weight(self, term: str) -> float:
        return self.coefficients.get(term, 0.0)


# --- fitting ---


def features(table: Table, networks: Sequence[Network]) -> Floats:
    """Each network's value of each of :data:`TERMS`, shape (networks, terms).

    Raises:
        MissingEntry: a block is not in the table.
    """
    return np.array(
        [
            [table.latency_ms(blocks), 1.0, *(sum(map(term, blocks)) for term in BLOCK_TERMS.values())]
            for blocks in networks
        ]
    ).reshape(-1, len(TERMS))


def fit(values: Floats, measured_ms: Floats, terms: Sequence[str]) -> Floats:
    """Coefficients of `terms` that make the relative errors small.

    Least squares of the relative error, reweighted by Huber's rule so that a network measured while the
    machine was busy does not bend the fit. A coefficient may be negative: a block timed by itself finds its
    input and weights colder, or its call dearer, than inside a network, so that its own latency holds too much.

    Args:
        values: :func:`features`, shape (n, len(TERMS)).
        measured_ms: shape (n,).
        terms: names from :data:`TERMS`.

    Returns:
        Shape (len(TERMS),), 0 for terms left out.
    """
    columns = [TERMS.index(name) for name in terms]
    relative = values[:, columns] / measured_ms[:, None]
    size = np.abs(relative).max(axis=0)
    size[size == 0] = 1.0  # a term that none of these networks has
    weight = np.ones(len(measured_ms))
    for _ in range(HUBER_ROUNDS):
        root = np.sqrt(weight)
        solution = np.linalg.lstsq(relative / size * root[:, None], root)[0]
        weight = huber_weights(relative / size @ solution - 1)
    coefficients = np.zeros(len(TERMS))
    coefficients[columns] = solution / size
    return coefficients


LEAST_SHARE, MOST_SHARE = 0.5, 2.0
"""Of what is predicted, what the blocks' own latencies make up, at least of the typical network and at most of
any: the other terms correct what was measured, they neither take its place nor cancel it, however well they
might fit noise."""


def rests_on_table(values: Floats, coefficients: Floats) -> bool:
    """Whether the blocks' own latencies make up what :data:`LEAST_SHARE` and :data:`MOST_SHARE` demand, and no
    prediction is negative. `values` as :func:`features` gives them, `coefficients` as :func:`fit` does."""
    parts = values * coefficients
    total = parts.sum(axis=1)
    own = parts[:, SCALE]
    return bool(
        np.median(own - LEAST_SHARE * total) >= 0 and (own <= MOST_SHARE * total).all() and (total > 0).all()
    )


def choose_terms(values: Floats, measured_ms: Floats, folds: int = 5) -> tuple[str, ...]:
    """The set among :data:`CANDIDATES` with the least cross-validated mean absolute relative error; a
    richer set must be better by 2 % of that error to be preferred to a simpler one, and :func:`rests_on_table`.

    Args:
        values: :func:`features`, shape (n, len(TERMS)).
        measured_ms: shape (n,); the networks should be in random order.
        folds: parts of the cross-validation.
    """
    best, least = CANDIDATES[0], math.inf
    part = np.arange(len(measured_ms)) % folds
    for terms in CANDIDATES:
        if 2 * len(terms) > len(measured_ms):
            continue
        if not rests_on_table(values, fit(values, measured_ms, terms)):
            continue
        predicted = np.empty_like(measured_ms)
        for held_out in (part == p for p in range(min(folds, len(measured_ms)))):
            predicted[held_out] = values[held_out] @ fit(values[~held_out], measured_ms[~held_out], terms)
        error = float(np.mean(np.abs(predicted / measured_ms - 1)))
        if error < 0.98 * least:
            best, least = terms, error
    return best
