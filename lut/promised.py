"""Latencies that are kept: a cost model whose answer is the bound of another one, so that whatever searches within
limits keeps them on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from compofa.blocks import Block
from compofa.errors import InputError
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes
from compofa.spaces.space import Space
from lut.costs import CostModel, Floats, Setting
from lut.lookup import Lookup
from lut.predictors.subnets import subnet_rows
from lut.promise import check_confidence, needed

if TYPE_CHECKING:
    from lut.subnet_model import SubnetModel

CHUNK = 8192
"""Subnets whose features are held at a time."""


class Bounding(Protocol):
    """How predictions become bounds; :class:`lut.promise.Bound` is one."""

    @property
    def confidence(self) -> float:
        """Probability that one measurement of a network is within its bound."""

    @property
    def pace(self) -> float:
        """By how much the device is slower now than when its networks were measured."""

    def of(self, predicted_ms: Floats, genotypes: Genotypes) -> Floats:
        """Bounds in milliseconds, shape (n,), of predictions, shape (n,), for genotypes, shape (n, columns)."""

    def of_measured(self, measured_ms: Floats, predicted_ms: Floats, genotypes: Genotypes) -> Floats:
        """Bounds of networks that were themselves measured once, shape (n,)."""

    def of_lookup(self, lookup: Lookup) -> Lookup:
        """The same as :meth:`of` of a prediction that is additive."""

    def expected_ms(self, predicted_ms: Floats, genotypes: Genotypes) -> Floats:
        """What a measurement is on average if the device is as it was, shape (n,)."""

    def rests_on(self, measured: bool) -> str:
        """What a bound rests on, in words, of a network that was measured or was not."""

    @property
    def now(self) -> tuple[float, ...]:
        """Measured over expected of networks measured since."""

    def observing(self, ratios: Sequence[float]) -> Self:
        """For the hour in which networks were measured: measured over expected of each."""


@dataclass(frozen=True)
class FittedBound:
    """The bound of a model of whole subnets: its conformal interval, open below.

    Args:
        model: that ``hwbench fit`` wrote.
        confidence: of one network's measurement being within it.
        now: measured over predicted of networks measured since; all are off together by the mean of these.

    Raises:
        InputError: the model rests on too few networks for the confidence, or it is none.
    """

    model: SubnetModel
    confidence: float
    now: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        if len(self.model.genotypes) < needed(self.confidence):
            raise InputError(
                f"a confidence of {self.confidence:g} needs {needed(self.confidence)} measured subnets or more, the "
                f"model rests on {len(self.model.genotypes)}: measure more (hwbench validate --subnets N --csv FILE) "
                "and run hwbench fit"
            )

    @property
    def pace(self) -> float:
        """By how much the device is slower now than when the subnets were measured."""
        return float(np.mean(self.now)) if self.now else 1.0

    def of(self, predicted_ms: Floats, genotypes: Genotypes) -> Floats:
        """Bounds in milliseconds, shape (n,)."""
        conformal, found = self.model.predictor.conformal, np.empty_like(predicted_ms)
        for start in range(0, len(genotypes), CHUNK):
            part = slice(start, start + CHUNK)
            rows = subnet_rows(self.model.family, genotypes[part])
            found[part] = conformal.upper(rows, predicted_ms[part], self.confidence)
        return self.pace * found

    def of_measured(self, measured_ms: Floats, predicted_ms: Floats, genotypes: Genotypes) -> Floats:
        """As of others: nothing was measured twice, so nobody knows what a measurement says of the next one."""
        return self.of(predicted_ms, genotypes)

    def of_lookup(self, lookup: Lookup) -> Lookup:
        """Never asked: the model is not additive."""
        raise NotImplementedError("a model of whole subnets is no sum over blocks")

    def expected_ms(self, predicted_ms: Floats, genotypes: Genotypes) -> Floats:
        """The predictions."""
        return predicted_ms

    def rests_on(self, measured: bool) -> str:
        """What a bound rests on, in words."""
        return f"the model's errors on {len(self.model.genotypes)} subnets"

    def observing(self, ratios: Sequence[float]) -> FittedBound:
        """For the hour in which networks were measured: measured over expected of each."""
        return replace(self, now=tuple(ratios))


@dataclass(frozen=True)
class Promised:
    """A cost whose answers are bounds that the device keeps, each with the same probability.

    Args:
        cost: that predicts.
        bound: of its predictions.
    """

    cost: CostModel
    bound: Bounding

    name = "promised_ms"

    @property
    def confidence(self) -> float:
        """Probability that one measurement of a network is within its bound."""
        return self.bound.confidence

    @property
    def label(self) -> str:
        """With the confidence."""
        return f"promised at {self.confidence:g} (ms)"

    @property
    def unit(self) -> str:
        """Milliseconds, and how sure."""
        return f"ms with probability {self.confidence:g}"

    @property
    def family(self) -> Family:
        """Whose subnets it answers for."""
        return self.cost.family

    @property
    def provenance(self) -> str:
        """How the answers come about."""
        return f"kept with probability {self.confidence:g}: {self.cost.provenance}, and what it was off by"

    @property
    def of(self) -> str:
        """The target, in words."""
        return self.cost.of

    @property
    def setting(self) -> Setting | None:
        """How its networks run."""
        return self.cost.setting

    def predict(self, genotypes: Genotypes) -> Floats:
        """Bounds in milliseconds, shape (n,), of genotypes, shape (n, columns)."""
        return self.bound.of(self.cost.predict(genotypes), genotypes)

    @cached_property
    def _lookup(self) -> Lookup | None:
        found = self.cost.as_lookup()
        return None if found is None else self.bound.of_lookup(found)

    def as_lookup(self) -> Lookup | None:
        """The bounds as arrays, if the predictions are additive."""
        return self._lookup

    def failures_in(self, space: Space) -> Mapping[Block, str]:
        """Blocks of `space` that cannot run, and why."""
        return self.cost.failures_in(space)

    def resolutions_in(self, space: Space) -> tuple[int, ...]:
        """Resolutions that all subnets of `space` are known at."""
        return self.cost.resolutions_in(space)

    def unknown_in(self, space: Space) -> str | None:
        """A choice of `space` that nothing is known of."""
        return self.cost.unknown_in(space)

    def describe(self, file: Path | None) -> dict[str, Any]:
        """What predicts, the confidence and the pace, JSON-ready."""
        return {**self.cost.describe(file), "confidence": self.confidence, "pace": self.bound.pace}

    def expected_ms(self, genotypes: Genotypes) -> Floats:
        """What a measurement is on average if the device is as it was, shape (n,)."""
        return self.bound.expected_ms(self.cost.predict(genotypes), genotypes)

    def of_measured(self, measured_ms: Floats, genotypes: Genotypes) -> Floats:
        """Bounds of networks that were themselves measured once, shape (n,)."""
        return self.bound.of_measured(measured_ms, self.cost.predict(genotypes), genotypes)

    def observing(self, ratios: Sequence[float]) -> Promised:
        """For the hour in which networks were measured: measured over expected of each."""
        return replace(self, bound=self.bound.observing(ratios))
