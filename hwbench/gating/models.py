"""The latency models that the gate holds to account, each fitted on a set's training half."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from compofa.spaces.layout import Genotypes, encode
from hwbench.gating.golden import GoldenSet
from lut.calibration import Calibration
from lut.lookup import MissingEntry
from lut.model import Floats
from lut.predictors import ESTIMATORS
from lut.predictors.auto import AutoPredictor
from lut.predictors.base import Rows
from lut.predictors.subnets import subnet_rows


class Model(Protocol):
    """What answers for subnets."""

    def predict(self, genotypes: Genotypes) -> Floats:
        """Latency of each subnet in milliseconds, shape (n,), from genotypes of shape (n, 1 + slots)."""


class Learned:
    """A learned predictor of subnets, as ``hwbench fit --model NAME`` makes it.

    Args:
        training: what it is fitted on.
        name: of the estimator.
    """

    def __init__(self, training: Calibration, name: str) -> None:
        self.family = training.table.family
        self.model = ESTIMATORS[name](seed=0).fit(_rows(training), training.measured_ms)

    def predict(self, genotypes: Genotypes) -> Floats:
        """Shape (n,)."""
        return self.model.predict(subnet_rows(self.family, genotypes))


class Bounded:
    """The same with intervals, from its errors in cross-validation."""

    def __init__(self, training: Calibration, name: str) -> None:
        self.family = training.table.family
        self.model = AutoPredictor((name,)).fit(_rows(training), training.measured_ms)

    def predict(self, genotypes: Genotypes) -> Floats:
        """Shape (n,)."""
        return self.model.predict(subnet_rows(self.family, genotypes))

    def interval_ms(self, genotypes: Genotypes, coverage: float) -> tuple[Floats, Floats]:
        """Bounds that hold the measured latency with probability `coverage`, each of shape (n,)."""
        return self.model.interval(subnet_rows(self.family, genotypes), coverage)


def _rows(training: Calibration) -> Rows:
    family = training.table.family
    return subnet_rows(family, encode(family, training.archs))


MODELS: dict[str, Callable[[Calibration], Model]] = {
    "calibrated": lambda training: training.model,
    **{name: partial(Learned, name=name) for name in ("additive", "roofline", "ridge", "forest", "xgboost")},
    "gp": partial(Bounded, name="gp"),
    "roofline-gp": partial(Learned, name="roofline-gp"),
}
"""Name -> what fits it on the training half. The mlp is left out: its optimiser stops before it converges, so
that rounding decides what it predicts."""
COVERAGE = 0.9
"""Of the intervals that are checked."""


@dataclass(frozen=True)
class Answers:
    """What a model says of the subnets that a set asks about.

    Args:
        predicted_ms: shape (asked,), NaN where the model has no answer.
        trouble: why it has none; empty if it answered for all.
        covered: how many subnets of the test half have their measured latency inside the model's interval;
            None if it has no intervals.
    """

    predicted_ms: Floats
    trouble: str = ""
    covered: int | None = None


def answer(name: str, golden: GoldenSet) -> Answers:
    """Fit the model called `name` on the training half of `golden`, and ask it what the set asks."""
    genotypes = encode(golden.table.family, golden.asked)
    try:
        model = MODELS[name](golden.training)
        predicted = model.predict(genotypes)
    except MissingEntry as error:
        predicted = np.array([_one(model, row) for row in genotypes])
        return Answers(predicted, str(error))
    except ValueError as error:
        return Answers(np.full(len(genotypes), np.nan), str(error))
    wrong = ~(np.isfinite(predicted) & (predicted > 0))
    trouble = f"{wrong.sum()} predictions are no positive numbers" if wrong.any() else ""
    return Answers(np.where(wrong, np.nan, predicted), trouble, _covered(model, golden, genotypes))


def _covered(model: Model, golden: GoldenSet, genotypes: Genotypes) -> int | None:
    if not isinstance(model, Bounded):
        return None
    measured = golden.test.measured_ms
    low, high = model.interval_ms(genotypes[: len(measured)], COVERAGE)
    return int(((low <= measured) & (measured <= high)).sum())


def _one(model: Model, genotype: Genotypes) -> float:
    try:
        return float(model.predict(genotype[None])[0])
    except MissingEntry:
        return math.nan
