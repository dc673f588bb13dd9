"""An accuracy predictor from measured subnets: the best kind by cross-validation, with errors that are honest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.candidates import CANDIDATES, Candidate, Floats
from compofa.accuracy.folds import FOLDS, folds, group
from compofa.accuracy.inputs import Capacities
from compofa.accuracy.intervals import Intervals
from compofa.accuracy.predictor import UNKNOWN, AccuracyOrigin, AccuracyPredictor
from compofa.errors import InputError
from compofa.spaces.coverage import Coverage
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes

MIN_SUBNETS = 50
MIN_AT_RESOLUTION = 10
COVERAGE = 0.9
"""Of the intervals that are reported."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Subnets that are enough to fit to, at resolutions that have enough of them.

    Args:
        family: whose they are.
        own: the family with these resolutions only, by which `genotypes` go.
        genotypes: shape (n, columns).
        accuracy: fractions, shape (n,).
        variance: known of each accuracy, as of a finite test set, shape (n,).
    """

    family: Family
    own: Family
    genotypes: Genotypes
    accuracy: Floats
    variance: Floats

    def fit(self, candidate: Candidate, rows: Any, others: Any, seed: int) -> tuple[Floats, Floats]:
        """Accuracies and standard deviations of `others` by `candidate`, fitted to `rows`."""
        model = candidate.fit(self.own, self.genotypes[rows], self.accuracy[rows], self.variance[rows], seed)
        return model(self.own, self.genotypes[others])


def prepare(
    family: Family, genotypes: Genotypes, accuracy: Floats, standard_error: Floats | None = None
) -> Measured:
    """What can be fitted to. Resolutions with fewer than :data:`MIN_AT_RESOLUTION` subnets are left out: too few to be
    held to anything.

    Args:
        family: whose subnets.
        genotypes: measured subnets, shape (n, columns).
        accuracy: theirs, as fractions, shape (n,).
        standard_error: of each, as a fraction, shape (n,), where measurements differ in it.

    Raises:
        InputError: fewer than 50 subnets are left, or an accuracy is not from 0 to 1.
    """
    if not ((accuracy >= 0) & (accuracy <= 1)).all():
        raise InputError("accuracies are fractions from 0 to 1")
    counts = np.bincount(genotypes[:, 0], minlength=len(family.resolutions))
    enough = counts >= MIN_AT_RESOLUTION
    known = tuple(r for r, many in zip(family.resolutions, enough, strict=True) if many)
    kept = enough[genotypes[:, 0]]
    if kept.sum() < MIN_SUBNETS:
        raise InputError(
            f"an accuracy predictor needs {MIN_SUBNETS} measured subnets or more, {MIN_AT_RESOLUTION} or more at "
            f"each resolution, not {kept.sum()}"
        )
    own = np.cumsum(enough, dtype=np.int16) - 1
    variance = np.zeros(len(genotypes)) if standard_error is None else standard_error**2
    return Measured(
        family,
        replace(family, resolutions=known),
        np.column_stack([own[genotypes[kept, 0]], genotypes[kept, 1:]]),
        accuracy[kept],
        variance[kept],
    )


def fit_predictor(
    family: Family,
    genotypes: Genotypes,
    accuracy: Floats,
    seed: int = 0,
    origin: AccuracyOrigin = UNKNOWN,
    standard_error: Floats | None = None,
    candidates: Sequence[Candidate] | None = None,
    judged_by: NDArray[np.bool_] | None = None,
) -> AccuracyPredictor:
    """The best candidate by cross-validation, fitted on all of it.

    Subnets that differ in one choice are held out together. The error that is reported is that of the chosen candidate
    on subnets that it had not seen; it was chosen by it, among few.

    Args:
        family: whose subnets.
        genotypes: measured subnets, shape (n, columns).
        accuracy: theirs, as fractions, shape (n,).
        seed: of the folds and the anchors.
        origin: of the accuracies.
        standard_error: of each accuracy, as a fraction, where measurements differ in it.
        candidates: to choose from; :data:`compofa.accuracy.candidates.CANDIDATES` unless given.
        judged_by: the subnets that errors and intervals are told by, shape (n,); all unless given. Those that somebody
            picked are like one another, and better known than those of the space at large.

    Raises:
        InputError: as :func:`prepare`, or all accuracies are equal.
    """
    data = prepare(family, genotypes, accuracy, standard_error)
    if not np.ptp(data.accuracy):
        raise InputError(
            f"all {len(data.accuracy)} subnets have an accuracy of {100 * data.accuracy[0]:.4g} %: there is nothing to "
            "learn (is the supernet trained?)"
        )
    mine = np.isin(genotypes[:, 0], _indices(family, data.own))
    judges = np.ones(len(data.accuracy), dtype=np.bool_) if judged_by is None else judged_by[mine]
    groups, neighbours = group(data.genotypes)
    fold = folds(groups, seed)
    unseen = {c.name: _unseen(c, data, fold, seed) for c in candidates or CANDIDATES}
    errors = {name: float(np.abs(found[0] - data.accuracy)[judges].mean()) for name, found in unseen.items()}
    best = min(candidates or CANDIDATES, key=lambda c: errors[c.name])
    predicted, _ = unseen[best.name]
    # Whoever is like the measured subnets has neighbours among them as they have.
    single = folds(np.arange(len(groups)), seed)
    alike, deviation = _unseen(best, data, single, seed)
    ratios = (np.abs(alike - data.accuracy) / deviation)[judges]
    intervals = Intervals.of(ratios)
    report = {
        "model": best.name,
        "subnets": len(data.accuracy),
        "cross_validated_mae": errors,
        "held_out": {
            **scores(data.accuracy[judges], predicted[judges]),
        },
        "intervals": {
            "coverage_90_pct": 100 * _coverage(ratios, single[judges]),
            "half_width_90": float(intervals.factor(COVERAGE) * deviation[judges].mean()),
        },
        "held_out_by": f"{FOLDS} folds"
        + (", subnets that differ in one choice in the same one" if neighbours else " of single subnets"),
        "groups": int(groups.max()) + 1,
    }
    return replace(_fitted(best, data, genotypes, seed, origin), report=report, intervals=intervals)


def fit_quickly(
    family: Family,
    genotypes: Genotypes,
    accuracy: Floats,
    seed: int = 0,
    standard_error: Floats | None = None,
) -> AccuracyPredictor:
    """The last of :data:`compofa.accuracy.candidates.CANDIDATES`, the best on all data that we have, without holding
    anything out: it knows how sure it is, but not how good, and has no intervals. In a twentieth of the time of
    :func:`fit_predictor`, whose arguments and errors these are."""
    data = prepare(family, genotypes, accuracy, standard_error)
    return _fitted(CANDIDATES[-1], data, genotypes, seed, UNKNOWN)


def _fitted(
    candidate: Candidate, data: Measured, genotypes: Genotypes, seed: int, origin: AccuracyOrigin
) -> AccuracyPredictor:
    """A candidate fitted to all of `data`, which is of `genotypes`."""
    model = candidate.fit(data.own, data.genotypes, data.accuracy, data.variance, seed)
    return AccuracyPredictor(
        data.family,
        model.inputs.name,
        model.layers,
        {},
        data.own.resolutions,
        Coverage.of(data.family, genotypes[np.isin(genotypes[:, 0], _indices(data.family, data.own))]),
        origin,
        model.inputs.anchors if isinstance(model.inputs, Capacities) else None,
        model.spread,
    )


def _indices(family: Family, own: Family) -> list[int]:
    return [i for i, resolution in enumerate(family.resolutions) if resolution in own.resolutions]


def _unseen(candidate: Candidate, data: Measured, fold: Any, seed: int) -> tuple[Floats, Floats]:
    """Accuracies and standard deviations (n,), each by a model that had not seen its fold."""
    predicted, deviation = np.empty(len(fold)), np.empty(len(fold))
    for k in range(FOLDS):
        predicted[fold == k], deviation[fold == k] = data.fit(candidate, fold != k, fold == k, seed)
    return predicted, deviation


def _coverage(ratios: Floats, fold: Any) -> float:
    """The share of subnets that intervals hold which were made without their fold."""
    held = [ratios[fold == k] <= Intervals.of(ratios[fold != k]).factor(COVERAGE) for k in range(FOLDS)]
    return float(np.concatenate(held).mean())


def scores(measured: Floats, predicted: Floats) -> dict[str, float]:
    """Errors as fractions, and rank correlations (NaN where all predictions are the same)."""
    from scipy.stats import kendalltau, spearmanr

    return {
        "subnets": len(measured),
        "mae": float(np.abs(predicted - measured).mean()),
        "rmse": float(np.sqrt(((predicted - measured) ** 2).mean())),
        "spearman": float(spearmanr(predicted, measured).statistic),
        "kendall_tau": float(kendalltau(predicted, measured).statistic),
    }
