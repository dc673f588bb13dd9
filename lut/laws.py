"""Which law a calibration follows, and what it says: corrected sums (:mod:`lut.model`), or the later of two clocks
(:mod:`lut.two_clocks`). The names of a calibration's terms tell which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lut import model, two_clocks
from lut.later import Later
from lut.model import Floats, LatencyModel
from lut.table import Table

ALL_TERMS = frozenset({*model.TERMS, *two_clocks.TERMS})


def choose(values: Floats, measured_ms: Floats, start: Later | None = None) -> tuple[str, ...]:
    """The terms of the law that cross-validation finds best: sums, unless two clocks are clearly better.

    Args:
        values: :func:`lut.model.features`, shape (n, terms).
        measured_ms: shape (n,); the networks should be in random order.
        start: two clocks fitted to nearly the same networks, to begin from.
    """
    terms = model.choose_terms(values, measured_ms)
    return two_clocks.TERMS if two_clocks.bends(values, measured_ms, terms, start) else terms


def check(terms: Sequence[str]) -> str | None:
    """What is wrong with a calibration's terms; None if nothing is."""
    if unknown := set(terms) - ALL_TERMS:
        return f"unknown terms {sorted(unknown)}; there are {', '.join(sorted(ALL_TERMS))}"
    if tuple(terms) != two_clocks.TERMS and not set(terms) <= set(model.TERMS):
        return f"the terms {', '.join(terms)} are of no one law"
    return None


def fitted(
    table: Table, values: Floats, measured_ms: Floats, terms: Sequence[str], caution: str | None = None
) -> LatencyModel:
    """The law with `terms`, fitted to networks of `table`; `values` and `measured_ms` as for :func:`choose`."""
    if tuple(terms) == two_clocks.TERMS:
        law = two_clocks.fit(values, measured_ms)
        return two_clocks.TwoClocks(table, two_clocks.coefficients(law), caution)
    weights = model.fit(values, measured_ms, terms)
    kept = {term: float(w) for term, w in zip(model.TERMS, weights, strict=True) if w}
    return LatencyModel(table, kept, caution)


def leave_one_out(values: Floats, measured_ms: Floats) -> Floats:
    """What a calibration on all other networks predicts for each, in milliseconds, shape (n,).

    The law is chosen anew without the network, too: otherwise it would have had its say in it.
    """
    start = two_clocks.fit(values, measured_ms) if len(measured_ms) > two_clocks.LEAST_NETWORKS else None
    predicted = np.empty_like(measured_ms)
    for i in range(len(measured_ms)):
        others = np.arange(len(measured_ms)) != i
        predicted[i] = predict_unseen(values[others], measured_ms[others], values[[i]], start)[0]
    return predicted


def predict_unseen(values: Floats, measured_ms: Floats, asked: Floats, start: Later | None = None) -> Floats:
    """What a calibration on networks says of others, in milliseconds, shape (asked,); its law is chosen anew.

    Args:
        values: :func:`lut.model.features` of the networks, shape (n, terms).
        measured_ms: shape (n,).
        asked: features of the others, shape (asked, terms).
        start: as for :func:`choose`.
    """
    terms = choose(values, measured_ms, start)
    if terms == two_clocks.TERMS:
        return two_clocks.fit(values, measured_ms, start).predict(*two_clocks.columns(asked))
    return asked @ model.fit(values, measured_ms, terms)
