"""What every latency estimator takes and gives: feature rows in, milliseconds out.

A row describes a block or a whole subnet; an estimator does not know which. So the same estimators fill the
gaps of a table of blocks and answer for subnets nobody measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError

Floats = NDArray[np.float64]

PLAUSIBLE_MS = (1e-6, 1e9)
"""A nanosecond and eleven days: what lies outside is no latency, and ratios to it overflow."""


@dataclass(frozen=True)
class Rows:
    """What is known of n blocks or subnets before they are measured.

    Args:
        linear: named groups of columns in which latency is nearly additive, coarse ones first; each of shape
            (n, columns of that group), non-negative. Linear models weigh them. Two groups are always there:
            ``launches``, what the host does whatever the size (1, numbers of blocks), and ``work``, what the
            device does (multiply-accumulates, values moved). Finer ones (per unit, per slot, one-hot choices)
            may follow.
        general: shape (n, columns): the same knowledge for models that find interactions themselves
            (trees, networks, kernels). Any scale will do.
        prior: shape (n,): a positive cost that needs no fit, of the right order up to a factor: a roofline.

    Raises:
        ValueError: a part is missing or of another length, or `prior` is not positive, or a number is not
            finite.
    """

    linear: dict[str, Floats]
    general: Floats
    prior: Floats

    def __post_init__(self) -> None:
        if not {"launches", "work"} <= self.linear.keys():
            raise InputError(f"feature rows need launches and work, and have {', '.join(self.linear)}")
        parts = (*self.linear.values(), self.general, self.prior)
        if len({len(part) for part in parts}) != 1:
            raise InputError(f"feature rows differ in number: {[len(part) for part in parts]}")
        if not all(np.isfinite(part.sum()) for part in parts) or not (self.prior > 0).all():
            raise InputError("a feature is not finite, or a prior cost is not positive")

    def __len__(self) -> int:
        return len(self.prior)

    @property
    def costs(self) -> Floats:
        """Launches and work side by side, shape (n, columns)."""
        return np.hstack([self.linear["launches"], self.linear["work"]])

    def __getitem__(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Rows:
        """The rows that `index` selects, as numpy would."""
        linear = {name: part[index] for name, part in self.linear.items()}
        return Rows(linear, self.general[index], self.prior[index])


class Estimator(ABC):
    """A way to learn latency from rows. Deterministic: same rows, same seed, same answers.

    Args:
        seed: of whatever is random in the fit.

    Attributes:
        name: as given to ``--model``.
        min_rows: fewest rows that it can be fitted on.
    """

    name: ClassVar[str]
    min_rows: ClassVar[int] = 10

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot be used here, with the remedy; None if it can."""
        return None

    @abstractmethod
    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        """Learn from measured `latency_ms`, shape (n,), positive; gives itself back."""

    @abstractmethod
    def predict(self, rows: Rows) -> Floats:
        """Latencies in milliseconds, shape (n,)."""

    def searched(self) -> dict[str, Any]:
        """What :meth:`fit` searched for long and :meth:`refit` need not search again, JSON-ready."""
        return {}

    def refit(self, rows: Rows, latency_ms: Floats, searched: Mapping[str, Any]) -> Self:
        """:meth:`fit` on the same rows as before, with what it :meth:`searched` then.

        Raises:
            ValueError: `searched` is not this estimator's.
        """
        return self.fit(rows, latency_ms)

    def cross_predict(self, rows: Rows, latency_ms: Floats, folds: Sequence[NDArray[np.intp]]) -> Floats:
        """What it predicts for each row when fitted on the other folds, shape (n,).

        Args:
            rows: n of them.
            latency_ms: shape (n,).
            folds: indices of rows; each row is in exactly one.
        """
        predicted = np.empty(len(rows))
        for held_out in folds:
            others = np.ones(len(rows), dtype=bool)
            others[held_out] = False
            predicted[held_out] = self.fit(rows[others], latency_ms[others]).predict(rows[held_out])
        return predicted


class Predictor(ABC):
    """A latency with an honest interval: what commands and tables use.

    :class:`lut.predictors.auto.AutoPredictor` learns subnets: it chooses among estimators by cross-validation and
    takes the intervals from the errors that it made on rows it had not seen.
    :class:`lut.predictors.residual.RooflineResidual` learns blocks.
    """

    @abstractmethod
    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        """Learn from measured `latency_ms`, shape (n,).

        Raises:
            ValueError: too few rows, or a latency is no positive number.
        """

    @abstractmethod
    def predict(self, rows: Rows) -> Floats:
        """Latencies in milliseconds, shape (n,), positive."""

    @abstractmethod
    def interval(self, rows: Rows, coverage: float = 0.9) -> tuple[Floats, Floats]:
        """Bounds in milliseconds, each of shape (n,), that hold the measured latency with probability
        `coverage` for rows drawn like those of the fit.

        Raises:
            ValueError: `coverage` is not between 0 and 1, or asks for more rows than were fitted.
        """


def column_size(part: Floats) -> Floats:
    """The largest value of each column, 1 where there is none: non-negative columns divided by it are
    comparable, whether they count, cost or choose. Shape (columns,)."""
    largest: Floats = part.max(axis=0)
    return np.where(largest > 0, largest, 1.0)


def random_folds(count: int, folds: int, seed: int) -> list[NDArray[np.intp]]:
    """`count` rows dealt at random into `folds` parts of nearly equal size."""
    order = np.random.default_rng(seed).permutation(count)
    return [order[part::folds] for part in range(folds)]
