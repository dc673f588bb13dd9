"""What a device keeps: a bound that the measured latency of a network stays within, with a given probability.

A calibration tells how far measured networks lay from predictions that did not know them. The quantile of these
residuals bounds the next one (conformal prediction: Vovk et al., Algorithmic Learning in a Random World; out of
cross-validation: Barber et al., Predictive inference with the jackknife+, 2021). It needs no model to be right: only
that the network is one like those measured, and the device as it was then.

Whoever keeps a limit is measured once, afresh. So what counts is a residual of *one* measurement, and of one pass from
what the other pass says, for all of a pass may be off together. A network has as many residuals as it was measured
times; the network counts once (pooled quantiles of groups: Dunn et al., Distribution-free prediction sets for
two-layer hierarchical models, 2022).

A network that was itself measured says more of itself than the model does, but not all: what measured fast was partly
lucky, and comes back towards the others when it is measured again (regression to the mean; Galton 1886). By how much is
known from the networks that were measured twice. So its bound may be held against a limit even if the network was
picked because it measured fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from compofa.spaces.layout import Genotypes, layout
from lut.lookup import Lookup
from lut.promise_residuals import Residuals, Shape

Floats = NDArray[np.float64]


def check_confidence(confidence: float) -> None:
    """Raise InputError unless it is a probability above 0 and below 1."""
    if not 0 < confidence < 1:  # NaN, too
        raise InputError(
            f"a confidence is a probability above 0 and below 1, such as 0.95, not {confidence:g}"
        )


def needed(confidence: float) -> int:
    """The fewest measured networks that can promise so much: of n, the largest residual is exceeded by the next one
    with probability 1 / (n + 1)."""
    return math.ceil(confidence / (1 - confidence) - 1e-9)


@dataclass(frozen=True)
class Bound:
    """The upper bound that residuals give at one confidence, additive where the prediction is.

    Args:
        residuals: of the calibration.
        confidence: of one network's measurement being within it.
        now: measured over expected of networks measured since, at the hour that the promise is for: all are off
            together by the mean of these.

    Raises:
        InputError: there are too few networks for the confidence, or it is none.
    """

    residuals: Residuals
    confidence: float
    now: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        if len(self.residuals) < needed(self.confidence):
            raise InputError(
                f"a confidence of {self.confidence:g} needs {needed(self.confidence)} measured networks or more, not "
                f"{len(self.residuals)}: run hwbench validate --subnets {needed(self.confidence)} or more"
            )

    @cached_property
    def _chosen(self) -> tuple[Shape, Floats]:
        return Shape.choose(self.residuals)

    @property
    def shape(self) -> Shape:
        """Where the residuals are large."""
        return self._chosen[0]

    @property
    def pace(self) -> float:
        """By how much the device is slower now than when it was validated; 1 where nothing was measured since."""
        return float(np.mean(self.now)) if self.now else 1.0

    @cached_property
    def reliability(self) -> float:
        """Share of a network's error that is its own and shows again in a second measurement: the correlation of the
        passes (intraclass, Fisher 1925), 0 to 1; 0 where each network was measured once."""
        own = self.residuals.within - self._chosen[1][:, None]
        squares, more = float((own**2).sum()), own.shape[1] - 1
        together = float((own.sum(axis=1) ** 2).sum()) - squares
        return min(max(together / (more * squares), 0.0), 1.0) if more and squares else 0.0

    @cached_property
    def margin(self) -> float:
        """The quantile of the errors, as a share of a network of typical latency."""
        return self._margin(0.0)

    @cached_property
    def margin_measured(self) -> float:
        """The same of a network that was itself measured."""
        return self._margin(self.reliability)

    def _margin(self, known: float) -> float:
        """The quantile of what is left of the errors if the share `known` of what another pass says is counted."""
        shape, seen = self._chosen
        errors = self.residuals.across - seen[:, None] - known * (self.residuals.others - seen[:, None])
        # Across passes even where the pace is known: these are minutes apart, as measuring and what follows may be.
        found = pooled_quantile(errors / shape.spread(self.residuals.predicted_ms)[:, None], self.confidence)
        return found * self._uncertainty(known) if found > 0 else found

    def _uncertainty(self, known: float) -> float:
        """By how much the errors are larger because the pace now is known from a few networks only, and because these
        scatter more than the calibration did. With the share w of its own measurement known, a network's next one has
        the variance (1 - w)(1 + w), the pace of n the variance 1 / n, of which (1 - w) counts."""
        if not self.now:
            return 1.0
        scatter = float(np.std(self.now, ddof=1)) / self.pace if len(self.now) > 1 else 0.0
        deviation = max(float(self.residuals.within.std()), 1e-12)
        of_pace = math.sqrt(1 + (1 - known) / (1 + known) / len(self.now))
        return max(1.0, scatter / deviation) * of_pace

    def of(self, predicted_ms: Floats, genotypes: Genotypes) -> Floats:
        """Bounds in milliseconds, shape (n,), of predictions, shape (n,), for genotypes, shape (n, columns)."""
        shape = self.shape
        share = 1 + shape.offsets[genotypes[:, 0]] + self.margin * shape.spread(predicted_ms)
        found: Floats = self.pace * predicted_ms * share
        return found

    def of_measured(self, measured_ms: Floats, predicted_ms: Floats, genotypes: Genotypes) -> Floats:
        """Bounds of networks that were themselves measured, shape (n,), once each, :attr:`now` among others.

        Args:
            measured_ms: shape (n,).
            predicted_ms: shape (n,).
            genotypes: shape (n, columns).
        """
        expected = self.pace * self.expected_ms(predicted_ms, genotypes)
        margin = self.margin_measured * self.shape.spread(predicted_ms)
        found: Floats = (
            expected + self.reliability * (measured_ms - expected) + self.pace * predicted_ms * margin
        )
        return found

    def of_lookup(self, lookup: Lookup) -> Lookup:
        """The same as :meth:`of` of a prediction that is additive."""
        shape, at = self.shape, layout(self.residuals.family)
        share = self.pace * (1 + shape.offsets + self.margin * (1 - shape.floor))
        constant = self.pace * self.margin * shape.floor * shape.typical_ms
        of_context = np.repeat(share, at.contexts // len(share))
        return Lookup(
            lookup.family, lookup.fixed * share + constant, lookup.slots * of_context[:, None, None]
        )

    def expected_ms(self, predicted_ms: Floats, genotypes: Genotypes) -> Floats:
        """What a measurement is on average if the device is as it was, shape (n,)."""
        found: Floats = predicted_ms * (1 + self.shape.offsets[genotypes[:, 0]])
        return found

    def rests_on(self, measured: bool) -> str:
        """What a bound rests on, in words, of a network that was measured or was not."""
        count = len(self.residuals)
        if measured and self.reliability:
            return f"its own measurement and the scatter of {count} networks' second measurements"
        return f"the model's errors on {count} networks"

    def observing(self, ratios: Sequence[float]) -> Bound:
        """For the hour in which networks were measured: measured over expected of each."""
        return replace(self, now=tuple(ratios))


def pooled_quantile(errors: Floats, confidence: float) -> float:
    """What the error of one more measurement of one more network stays within, with that probability at least.

    Args:
        errors: shape (networks, passes), of networks in any order.
        confidence: at most networks / (networks + 1).
    """
    networks, passes = errors.shape
    rank = max(math.ceil(passes * (networks + 1) * confidence - 1e-9), 1)
    return float(np.sort(errors, axis=None)[rank - 1])
