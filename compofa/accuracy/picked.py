"""What is likely of subnets that were picked because of what was predicted of them.

Of very many subnets the best by prediction are those that the prediction flatters: the intervals of a predictor hold
for subnets that were picked like the measured ones, not for its own favourites. Both corrections are in standard
deviations of the predictor, and were chosen by measuring picked subnets (benchmarks/bench_picked.py, docs/accuracy.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.predictor import AccuracyPredictor
from compofa.errors import InputError
from compofa.spaces.layout import Genotypes

Floats = NDArray[np.float64]
SHRINK = 0.4
"""Standard deviations by which the accuracy of a picked subnet is expected below its prediction."""
WIDEN = 1.25
"""Times as wide as for other subnets an interval is for picked ones."""


def after_pick(
    predictor: AccuracyPredictor, genotypes: Genotypes, shrink: float = SHRINK, covered: bool = False
) -> Floats:
    """The accuracy (n,) to expect of each subnet if it is picked by this number: what a search should maximise and say.

    Args:
        predictor: of the accuracies; one that does not say how sure it is is not corrected.
        genotypes: shape (n, columns).
        shrink: standard deviations to take off.
        covered: see :meth:`AccuracyPredictor.predict`.

    Raises:
        InputError: as :meth:`AccuracyPredictor.predict`.
    """
    found = predictor.predict(genotypes, covered)
    if predictor.spread is None or not shrink:
        return found
    return np.clip(found - shrink * predictor.deviation(genotypes, covered), 0.0, 1.0)


def interval_after_pick(
    predictor: AccuracyPredictor, genotypes: Genotypes, coverage: float, covered: bool = False
) -> tuple[Floats, Floats]:
    """Between which the measured accuracies of a share `coverage` of subnets lie that were picked by
    :func:`after_pick`: (n,) each, as fractions.

    Raises:
        InputError: the predictor does not say how sure it is, or so few subnets promise nothing so sure.
    """
    if predictor.intervals is None:
        raise InputError("the accuracy predictor does not say how sure it is: fit one with hwbench fit")
    centre = after_pick(predictor, genotypes, covered=covered)
    wide = WIDEN * predictor.intervals.factor(coverage) * predictor.deviation(genotypes, covered)
    return np.clip(centre - wide, 0.0, 1.0), np.clip(centre + wide, 0.0, 1.0)


def lower_bound(
    predictor: AccuracyPredictor, genotypes: Genotypes, confidence: float, covered: bool = False
) -> Floats:
    """Above which the measured accuracy of a picked subnet lies with that probability, (n,), as fractions.

    Raises:
        InputError: as :func:`interval_after_pick`; or `confidence` is not between 0.5 and 1.
    """
    if not 0.5 < confidence < 1:
        raise InputError(f"a confidence of {confidence:g} is not between 0.5 and 1")
    return interval_after_pick(predictor, genotypes, 2 * confidence - 1, covered)[0]
