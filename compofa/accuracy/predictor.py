"""Accuracy of any subnet from a few measured ones.

The inputs are those of OFA's published predictor: one-hot kernels of all slots, one-hot expand ratios of all
slots (an inactive slot is all zero), one-hot resolution (:mod:`compofa.spaces.features`), and perhaps more
(:mod:`compofa.accuracy.inputs`). A predictor is a stack of dense layers with ReLU between; the published one has three
hidden layers of 400, those that :mod:`compofa.accuracy.fitting` fits have none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.inputs import all_inputs, get_inputs, input_count
from compofa.accuracy.intervals import Intervals
from compofa.accuracy.layers import Floats, Layers, RowSums, above, check_layers
from compofa.accuracy.origin import AccuracyOrigin
from compofa.accuracy.spread import Spread
from compofa.errors import InputError
from compofa.spaces.coverage import Coverage
from compofa.spaces.family import Family
from compofa.spaces.features import feature_count
from compofa.spaces.layout import Genotypes, layout

UNKNOWN = AccuracyOrigin()
ABSURD = 0.5
"""Answers so far below 0 or above 1 come from a predictor of something else, such as of per cent."""
CHUNK = 256
"""Subnets at a time: their hidden values then stay in the second-level cache, which is 1.2 times as fast."""


@dataclass(frozen=True)
class AccuracyPredictor:
    """Predicts the accuracy of any subnet of a family, as a fraction.

    It answers only where it was fitted, and never with less than none or more than all.

    Args:
        family: whose subnets.
        features: name of the inputs (:mod:`compofa.accuracy.inputs`).
        layers: dense layers.
        report: of the fit: which candidate, the others' errors, error and rank correlation on subnets that it had not
            seen.
        resolutions: that it was fitted at and that its inputs tell apart, in pixels; the family's unless given.
        coverage: the choices that it was fitted to; all that the family has unless given.
        origin: of the accuracies that it was fitted to.
        anchors: subnets that its inputs compare with, by its own resolutions, shape (anchors, columns), if they do.
        spread: how sure it is of each subnet; it has no intervals without.
        intervals: how far off it was, in standard deviations, on subnets that it had not seen; likewise.

    Raises:
        InputError: the layers do not fit together, or hold numbers that are none.
    """

    family: Family
    features: str
    layers: Layers
    report: dict[str, Any]
    resolutions: tuple[int, ...] = ()
    coverage: Coverage | None = None
    origin: AccuracyOrigin = UNKNOWN
    anchors: Genotypes | None = None
    spread: Spread | None = None
    intervals: Intervals | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolutions", self.resolutions or self.family.resolutions)
        if self.anchors is not None:
            layout(self._family).check(self.anchors)
        inputs = input_count(get_inputs(self.features, self.anchors), self._family)
        check_layers(inputs, self.layers, self.family.name)
        if self.spread is not None and self.spread.weight.shape[1] != inputs:
            raise InputError("a damaged accuracy predictor: its spread is of other inputs")

    @cached_property
    def _family(self) -> Family:
        """The family with the predictor's own resolutions, by which its inputs go."""
        return replace(self.family, resolutions=self.resolutions)

    @property
    def mae(self) -> float | None:
        """Mean absolute error on subnets that it had not seen, as a fraction, if that is known."""
        return self.report.get("held_out", {}).get("mae")

    def predict(self, genotypes: Genotypes, covered: bool = False) -> Floats:
        """Accuracies (n,) of genotypes (n, columns).

        Args:
            genotypes: the subnets.
            covered: the caller has made sure that :attr:`coverage` holds all choices that matter.

        Raises:
            ValueError: a subnet has a resolution or a choice that the predictor was not fitted to, or what it
                predicts are no accuracies.
        """
        genotypes = self._known(genotypes, covered)
        accuracy = np.empty(len(genotypes))
        # Memory that is used again and again, not given back and faulted in anew for each part.
        hidden = [np.empty((CHUNK, len(bias)), dtype=np.float32) for _, bias in self.layers]
        for start in range(0, len(genotypes), CHUNK):
            part = genotypes[start : start + CHUNK]
            first, *others = (values[: len(part)] for values in hidden)
            self._first_layer(part, first)
            accuracy[start : start + CHUNK] = above(first, self.layers[1:], others)
        if len(accuracy) and not -ABSURD <= (typical := float(np.median(accuracy))) <= 1 + ABSURD:
            raise InputError(
                f"the accuracy predictor says {typical:.4g}: accuracies are fractions from 0 to 1"
            )
        return np.clip(accuracy, 0.0, 1.0, out=accuracy)

    def deviation(self, genotypes: Genotypes, covered: bool = False) -> Floats:
        """What it holds for the standard deviation of its error, as a fraction, shape (n,), of genotypes (n, columns):
        larger for subnets unlike those that it was fitted to.

        Raises:
            InputError: as :meth:`predict`; or it does not know.
        """
        if self.spread is None:
            raise InputError("the accuracy predictor does not say how sure it is: fit one with hwbench fit")
        genotypes = self._known(genotypes, covered)
        found = np.empty(len(genotypes))
        inputs = get_inputs(self.features, self.anchors)
        for start in range(0, len(genotypes), CHUNK):
            part = genotypes[start : start + CHUNK]
            found[start : start + CHUNK] = self.spread(all_inputs(inputs, self._family, part))
        return found

    def interval(self, genotypes: Genotypes, coverage: float, covered: bool = False) -> tuple[Floats, Floats]:
        """Between which the measured accuracies of a share `coverage` of such subnets lie: (n,) each, as fractions.

        It holds for subnets that were picked as the fitted ones were, not for the best of many by prediction.

        Raises:
            InputError: as :meth:`deviation`; or so few subnets promise nothing so sure.
        """
        if self.intervals is None:
            raise InputError("the accuracy predictor does not say how sure it is: fit one with hwbench fit")
        centre = self.predict(genotypes, covered)
        wide = self.intervals.factor(coverage) * self.deviation(genotypes, covered)
        return np.clip(centre - wide, 0.0, 1.0), np.clip(centre + wide, 0.0, 1.0)

    @cached_property
    def _first_layer(self) -> Callable[[Genotypes, NDArray[np.float32]], None]:
        """Writes the first layer's values (n, width), before its ReLU, for genotypes (n, columns)."""
        family, inputs = self._family, get_inputs(self.features, self.anchors)
        weight, bias = self.layers[0]
        count = feature_count(family) + len(family.resolutions)
        sums = RowSums.of(family, weight[:, :count], bias)
        rest = np.ascontiguousarray(weight[:, count:].T)
        if not len(rest):
            return sums

        def multiply(genotypes: Genotypes, out: NDArray[np.float32]) -> None:
            sums(genotypes, out)
            out += inputs.more(family, genotypes) @ rest

        return multiply

    def _known(self, genotypes: Genotypes, covered: bool) -> Genotypes:
        """`genotypes` by the predictor's own resolutions, or InputError where it was not fitted."""
        genotypes = self._own_resolutions(genotypes)
        if not covered and self.coverage and (choice := self.coverage.lacks(genotypes)):
            raise InputError(f"the accuracy predictor was fitted to no subnet with {choice}")
        return genotypes

    def _own_resolutions(self, genotypes: Genotypes) -> Genotypes:
        """`genotypes` with the index of the resolution among the predictor's, not the family's."""
        if self.resolutions == self.family.resolutions:
            return genotypes
        own = {resolution: i for i, resolution in enumerate(self.resolutions)}
        index = np.array([own.get(r, -1) for r in self.family.resolutions], dtype=np.int16)
        genotypes = np.column_stack([index[genotypes[:, 0]], genotypes[:, 1:]])
        if (genotypes[:, 0] < 0).any():
            known = ", ".join(map(str, self.resolutions))
            raise InputError(f"the accuracy predictor knows only the resolutions {known}")
        return genotypes

    def save(self, path: Path) -> None:
        """Write it (:func:`compofa.accuracy.predictor_file.save`)."""
        from compofa.accuracy.predictor_file import save

        save(self, path)

    @classmethod
    def load(cls, path: Path) -> AccuracyPredictor:
        """The predictor in a file that hwbench wrote (:func:`compofa.accuracy.predictor_file.load`)."""
        from compofa.accuracy.predictor_file import load

        return load(path)
