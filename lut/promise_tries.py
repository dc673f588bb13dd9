"""Which network to measure next, so that the most accurate one is found whose own measurement promises a limit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from compofa.spaces.layout import Genotypes
from lut.costs import Floats
from lut.promised import Promised


@dataclass
class Tries:
    """Candidates, one after the other measured, and what each is promised by then.

    A miss and a hit are learned from alike: measured over expected is one more observation of the pace, beside
    those of the recheck.

    Args:
        before: what the device keeps by what is known before.
        limit_ms: for one measurement of the network that is chosen.
        genotypes: candidates, distinct, shape (n, columns).
        accuracy: shape (n,).
        measured_ms: of those measured so far, in order, by place.
    """

    before: Promised
    limit_ms: float
    genotypes: Genotypes
    accuracy: Floats
    measured_ms: dict[int, float] = field(default_factory=dict)

    @property
    def promise(self) -> Promised:
        """What the device keeps by all that was measured."""
        if not self.measured_ms:
            return self.before
        tried = list(self.measured_ms)
        ratios = np.array([*self.measured_ms.values()]) / self.before.expected_ms(self.genotypes[tried])
        return self.before.observing([*self.before.bound.now, *ratios.tolist()])

    def bounds(self) -> dict[int, float]:
        """What each network that was measured is promised, in milliseconds, by place."""
        tried = list(self.measured_ms)
        if not tried:
            return {}
        measured = np.array([*self.measured_ms.values()])
        return dict(
            zip(tried, self.promise.of_measured(measured, self.genotypes[tried]).tolist(), strict=True)
        )

    def kept(self) -> int | None:
        """The place of the most accurate network that was measured within the limit and is promised to stay there."""
        within = [
            i
            for i, ms in self.bounds().items()
            if ms <= self.limit_ms and self.measured_ms[i] <= self.limit_ms
        ]
        return max(within, key=lambda i: float(self.accuracy[i]), default=None)

    def chosen(self) -> int:
        """The one kept; if none is, the one that promises least, of those within the limit if there are such."""
        if (kept := self.kept()) is not None:
            return kept
        bounds = self.bounds()
        return min(bounds, key=lambda i: (self.measured_ms[i] > self.limit_ms, bounds[i]))

    def next(self) -> int | None:
        """The place of the network to measure next; None if nothing is to be gained.

        Until one is kept: the most accurate that the model promises. Then: the most accurate that would be promised if
        it measured as is to be expected, so about half of them are.
        """
        promise, kept = self.promise, self.kept()
        if kept is None:
            bounds = promise.predict(self.genotypes)
        else:
            expected = promise.bound.pace * promise.expected_ms(self.genotypes)
            bounds = promise.of_measured(expected, self.genotypes)
        fits = (bounds <= self.limit_ms) & (
            self.accuracy > (-np.inf if kept is None else self.accuracy[kept])
        )
        fits[list(self.measured_ms)] = False
        return int(np.argmax(np.where(fits, self.accuracy, -np.inf))) if fits.any() else None
