"""The gaps of a table, filled with predictions from what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from backends.base import Measurement
from compofa.blocks import Block
from lut.predictors.block_rows import block_rows
from lut.predictors.residual import RooflineResidual
from lut.table import Table, known_entries

COVERAGE = 0.95
"""Of the interval of a predicted entry: that of a measured one's, too."""


@dataclass(frozen=True)
class Filling:
    """What the gaps were filled with.

    Args:
        entries: predictions.
        predictor: that made them.
        known: how many entries it was fitted on.
    """

    entries: dict[Block, Measurement]
    predictor: RooflineResidual
    known: int


def predict_missing(entries: Mapping[Block, Measurement], wanted: Iterable[Block], seed: int = 0) -> Filling:
    """Predictions for those of `wanted` that `entries` do not know, or only as predictions.

    Args:
        entries: what is known; predictions among them are not learned from.
        wanted: blocks, of any resolution.
        seed: of the cross-validation.

    Raises:
        ValueError: too few blocks are known to predict others.
    """
    known = known_entries(entries)
    latency = np.array([m.latency_ms for m in known.values()])
    predictor = RooflineResidual(seed).fit(block_rows(list(known)), latency)
    gaps = [block for block in dict.fromkeys(wanted) if block not in known]
    rows = block_rows(gaps)
    low, high = predictor.interval(rows, COVERAGE)
    answers = np.stack([predictor.predict(rows), low, high], axis=1).tolist()
    return Filling(
        {block: Measurement("predicted", *answer) for block, answer in zip(gaps, answers, strict=True)},
        predictor,
        len(known),
    )


def fill(table: Table, wanted: Iterable[Block], seed: int = 0) -> tuple[Table, Filling]:
    """`table` with predictions for those of `wanted` that it lacks, but for those that cannot run; see
    :func:`predict_missing`."""
    runnable = [block for block in wanted if block not in table.failures]
    filling = predict_missing(table.entries, runnable, seed)
    return replace(table, entries=table.entries | filling.entries), filling
