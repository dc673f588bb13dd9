"""The latency models that the gate holds to account, each fitted on a set's training half."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from compofa.genotype import Genotypes, encode
from hwbench.gating.golden import GoldenSet
from lut.calibration import Calibration
from lut.lookup import MissingEntry
from lut.model import Floats


class Model(Protocol):
    """What answers for subnets."""

    def predict_ms(self, genotypes: Genotypes) -> Floats:
        """Latency of each subnet in milliseconds, shape (n,), from genotypes of shape (n, 1 + slots)."""


MODELS: dict[str, Callable[[Calibration], Model]] = {"calibrated": lambda training: training.model}
"""Name -> what fits it on the training half."""


@dataclass(frozen=True)
class Answers:
    """What a model says of the subnets that a set asks about.

    Args:
        predicted_ms: shape (asked,), NaN where the model has no answer.
        trouble: why it has none; empty if it answered for all.
    """

    predicted_ms: Floats
    trouble: str = ""


def answer(name: str, golden: GoldenSet) -> Answers:
    """Fit the model called `name` on the training half of `golden`, and ask it what the set asks."""
    genotypes = encode(golden.table.family, golden.asked)
    try:
        model = MODELS[name](golden.training)
        predicted = model.predict_ms(genotypes)
    except MissingEntry as error:
        predicted = np.array([_one(model, row) for row in genotypes])
        return Answers(predicted, str(error))
    except ValueError as error:
        return Answers(np.full(len(genotypes), np.nan), str(error))
    wrong = ~(np.isfinite(predicted) & (predicted > 0))
    trouble = f"{wrong.sum()} predictions are no positive numbers" if wrong.any() else ""
    return Answers(np.where(wrong, np.nan, predicted), trouble)


def _one(model: Model, genotype: Genotypes) -> float:
    try:
        return float(model.predict_ms(genotype[None])[0])
    except MissingEntry:
        return math.nan
