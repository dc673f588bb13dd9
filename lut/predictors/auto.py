"""The predictor that commands use: which estimators, at what weights, and how far to trust the answer.

Every candidate predicts every row without having seen it (cross-validation); by that the choice is made
(:mod:`lut.predictors.choosing`). The same errors make the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from compofa.errors import InputError
from lut.predictors import ESTIMATORS
from lut.predictors.base import PLAUSIBLE_MS, Estimator, Floats, Predictor, Rows, random_folds
from lut.predictors.choosing import MOST_SHIFT, choose
from lut.predictors.conformal import Conformal
from lut.scores import scores

FOLDS, FOLDS_OF_FEW = 5, 10
FEW = 500
"""Rows below which there are more folds: with little data each row that a fold leaves out is missed, and the
cross-validated errors, and with them the intervals, come out too large."""
LEAST_SHARE = 0.1
"""Of the fastest measured row: below it no prediction falls, however far it extrapolates."""
Report = Callable[[str], None]


@contextmanager
def one_thread() -> Iterator[None]:
    """Some hundred rows make small matrices: on two threads, which wait for each other by spinning, fitting took
    two to seven times as long."""
    import scipy.linalg  # noqa: F401  only what is loaded can be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


class AutoPredictor(Predictor):
    """Chooses, stacks, predicts, and bounds.

    Args:
        models: names from :data:`lut.predictors.ESTIMATORS` to choose from; all unless given.
        seed: of folds and estimators.
        note: is told of each candidate as it is done.

    Attributes:
        weights: of the chosen estimators, by name; they sum to 1, or to the factor that brings more rows within 10 %.
        candidates: name -> cross-validated scores, or the reason why it was left out.
        unseen_ms: cross-validated predictions of the chosen model, shape (n,).
    """

    def __init__(
        self, models: Sequence[str] = tuple(ESTIMATORS), seed: int = 0, note: Report = lambda _: None
    ) -> None:
        for name in models:
            check_model(name)
        self.models, self.seed, self.note = tuple(models), seed, note
        self.candidates: dict[str, Any] = {}

    @one_thread()
    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        check_latencies(rows, latency_ms)
        unseen = self._cross_validate(rows, latency_ms)
        if not unseen:
            raise InputError("; ".join(f"{name}: {why}" for name, why in self.candidates.items()))
        weights = choose(unseen, latency_ms)
        total = sum(weight * unseen[name] for name, weight in weights.items())
        return self.refit(rows, latency_ms, weights, np.asarray(total))

    @one_thread()
    def refit(
        self,
        rows: Rows,
        latency_ms: Floats,
        weights: Mapping[str, float],
        unseen_ms: Floats,
        searched: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Self:
        """Fit what an earlier :meth:`fit` on the same rows chose, without choosing again.

        Args:
            rows: n of them.
            latency_ms: shape (n,).
            weights: that :meth:`fit` found.
            unseen_ms: that :meth:`fit` found, shape (n,).
            searched: by name what :meth:`searched` gave then; an estimator that is not in it searches again.

        Raises:
            ValueError: an estimator is unknown or not installed, or a latency is no positive number.
        """
        check_latencies(rows, latency_ms)
        check_latencies(rows, unseen_ms)
        for name in weights:
            check_model(name)
            if why := ESTIMATORS[name].unavailable():
                raise InputError(f"the model needs {name}, but {why}")
        if abs(math.log(max(sum(weights.values()), 1e-9))) > 1.001 * MOST_SHIFT or min(weights.values()) < 0:
            raise InputError(f"the weights of a mean sum to about 1, these do not: {dict(weights)}")
        self.weights, self.unseen_ms = dict(weights), unseen_ms
        self.fitted = {
            name: ESTIMATORS[name](self.seed).refit(rows, latency_ms, searched[name])
            if searched and searched.get(name)
            else ESTIMATORS[name](self.seed).fit(rows, latency_ms)
            for name in weights
        }
        self.least_ms = LEAST_SHARE * float(latency_ms.min())
        self.conformal = Conformal(rows, latency_ms, unseen_ms, self.seed)
        return self

    def searched(self) -> dict[str, dict[str, Any]]:
        """What the chosen estimators searched for long, by name, for :meth:`refit`; JSON-ready."""
        return {name: found for name, one in self.fitted.items() if (found := one.searched())}

    def predict(self, rows: Rows) -> Floats:
        parts = (weight * self.fitted[name].predict(rows) for name, weight in self.weights.items())
        return np.maximum(np.sum(list(parts), axis=0), self.least_ms)

    def interval(self, rows: Rows, coverage: float = 0.9) -> tuple[Floats, Floats]:
        _, low, high = self.answer(rows, coverage)
        return low, high

    def answer(self, rows: Rows, coverage: float = 0.9) -> tuple[Floats, Floats, Floats]:
        """:meth:`predict` and :meth:`interval` at once: predicted, low and high, each of shape (n,)."""
        predicted = self.predict(rows)
        return predicted, *self.conformal.interval(rows, predicted, coverage)

    def _cross_validate(self, rows: Rows, latency_ms: Floats) -> dict[str, Floats]:
        """Name -> predictions of unseen rows, of the candidates that can be fitted; notes their scores."""
        unseen: dict[str, Floats] = {}
        folds = random_folds(len(rows), fold_count(len(rows)), self.seed)
        for name in self.models:
            kind = ESTIMATORS[name]
            if why := kind.unavailable() or too_few(kind, len(rows)):
                self.candidates[name] = why
                continue
            try:
                predicted = kind(self.seed).cross_predict(rows, latency_ms, folds)
            except np.linalg.LinAlgError as error:  # a singular fold must not cost the other candidates
                self.candidates[name] = f"failed: {error}"
                continue
            unseen[name] = np.maximum(predicted, LEAST_SHARE * float(latency_ms.min()))
            self.candidates[name] = dict(scores(latency_ms, unseen[name]))
            self.note(f"{name}: {self.candidates[name]['mape_pct']:.2f} % cross-validated error")
        return unseen


def check_model(name: str) -> None:
    """Raise ValueError unless there is an estimator called `name`."""
    if name not in ESTIMATORS:
        raise InputError(f"unknown model {name!r}; there are auto, {', '.join(ESTIMATORS)}")


def fold_count(count: int) -> int:
    """Parts of the cross-validation of `count` rows."""
    return FOLDS_OF_FEW if count < FEW else FOLDS


def too_few(kind: type[Estimator], count: int) -> str | None:
    """Why `count` rows do not suffice to cross-validate an estimator; None if they do."""
    least = math.ceil(kind.min_rows * FOLDS_OF_FEW / (FOLDS_OF_FEW - 1))
    return None if count >= least else f"needs {least} measured rows or more, not {count}"


def check_latencies(rows: Rows, latency_ms: Floats) -> None:
    """Raise ValueError unless there is a positive latency for each row."""
    if not len(rows):
        raise InputError("no rows to learn from")
    if latency_ms.shape != (len(rows),):
        raise InputError(f"{len(rows)} rows, but latencies of shape {latency_ms.shape}")
    least, most = PLAUSIBLE_MS
    if not ((least <= latency_ms) & (latency_ms <= most)).all():
        raise InputError(f"latencies must be positive milliseconds, from {least:g} to {most:g}")
