"""Which estimators, at what weights, by what they predicted of rows that they had not seen.

The best one is taken, or a weighted mean of several if that is clearly better (greedy forward selection with
replacement: Caruana et al., ICML 2004). That goes by the mean error; where it costs little of that, predictions are
then moved by a percent or two so that more rows come within 10 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lut.predictors.base import Floats
from lut.scores import mape_pct

PICKS = 10
"""Steps of the forward selection: weights are tenths."""
CLEARLY = 0.98
"""A richer model is preferred only if its error is below this share of the simpler one's."""
WITHIN, EDGE = 0.10, 0.01
"""Relative error that rows are wanted within, and how softly that is counted."""
MOST_SHIFT = 0.03
"""By which predictions are moved, as a logarithm."""
WORTH = 1.05
"""Times as large the mean error may become for it."""
SURE = 2.0
"""Standard errors by which what it brings must exceed nothing."""


def choose(unseen: Mapping[str, Floats], latency_ms: Floats) -> dict[str, float]:
    """The weight of each chosen candidate: the best one's is 1, unless a mean of several is clearly better; all times
    what :func:`shift` finds.

    Args:
        unseen: name -> cross-validated predictions, shape (n,), simplest first.
        latency_ms: shape (n,).
    """
    best = simplest_of_the_best({name: mape_pct(latency_ms, ms) for name, ms in unseen.items()})
    picks: list[str] = []
    total = np.zeros(len(latency_ms))
    for count in range(1, PICKS + 1):
        errors = {name: mape_pct(latency_ms, (total + ms) / count) for name, ms in unseen.items()}
        picks.append(min(errors, key=lambda name: errors[name]))
        total = total + unseen[picks[-1]]
    weights = {best: 1.0}
    if mape_pct(latency_ms, total / PICKS) < CLEARLY * mape_pct(latency_ms, unseen[best]):
        weights = {name: picks.count(name) / PICKS for name in unseen if name in picks}
    mean = np.asarray(sum(weight * unseen[name] for name, weight in weights.items()))
    factor = shift(mean, latency_ms)
    return {name: factor * weight for name, weight in weights.items()}


def shift(unseen_ms: Floats, latency_ms: Floats) -> float:
    """The factor of the predictions that brings most rows within 10 % at a mean error at most :data:`WORTH` times as
    large; 1 unless it brings clearly more.

    The median, which the mean error asks for, and the middle of the narrowest tenth either way, which this asks for,
    differ where runs are disturbed: those are slower, never faster.

    Args:
        unseen_ms: cross-validated predictions, shape (n,).
        latency_ms: shape (n,).
    """
    factors = np.exp(np.linspace(-MOST_SHIFT, MOST_SHIFT, 25))
    errors = np.abs(factors[:, None] * unseen_ms / latency_ms - 1)
    # Counted softly: few rows lie near the edge, and each would decide by itself.
    within = 1 / (1 + np.exp(np.clip((errors - WITHIN) / EDGE, -50, 50)))
    middle = len(factors) // 2
    dear = errors.mean(axis=1) > WORTH * errors[middle].mean()
    best = int(np.argmax(np.where(dear, 0.0, within.mean(axis=1))))
    more = within[best] - within[middle]
    return float(factors[best]) if more.mean() > SURE * more.std() / math.sqrt(len(more)) else 1.0


def simplest_of_the_best(errors: Mapping[str, float]) -> str:
    """The first of `errors`, simplest first, that none after it beats clearly."""
    best, least = "", math.inf
    for name, error in errors.items():
        if error < CLEARLY * least:
            best, least = name, error
    return best
