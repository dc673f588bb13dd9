"""What a kernel costs that a table lacks: a roofline with a learned residual for each group of kernels.

A group of which the table has few has a roofline only; of which it has next to none, the roofline of all kernels, times
what kernels of that group took against it, the fewer they are the less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from backends.kernels.costs import is_view
from backends.kernels.kernel import Kernel
from compofa.errors import InputError
from lut.kernels.describe import group, rows
from lut.predictors.base import Floats
from lut.predictors.residual import MIN_ROWS, RooflineResidual, fit_costs

NODE_MS = 2e-3
"""About what a node costs that does nothing. It is added to what is learned: of a kernel that costs nothing, an error
relative to its cost alone would be as large as one likes."""
SHRINK = 0.5
"""A group of so many kernels counts half."""
MOST_ROWS = 400
"""Of a group that are learned from: more cost more than they tell."""
MIN_ROOFLINE = 6
"""Of a group that has a roofline of its own; below, it has a factor only."""
LEAST_MS = 1e-6
Predict = Callable[[Sequence[Kernel]], Floats]


@dataclass(frozen=True)
class Pooled:
    """A roofline of all kernels, with a factor for each group.

    Args:
        weights: of the costs.
        factors: log of measured over roofline, shrunk; by group.
    """

    weights: Floats
    factors: dict[str, float]

    @classmethod
    def of(cls, entries: Mapping[Kernel, float]) -> Pooled:
        """Fitted to kernels and their times, :data:`NODE_MS` included."""
        kernels, latency = list(entries), np.array(list(entries.values()))
        costs = rows(kernels).costs
        weights = fit_costs(costs, latency)
        residual = np.log(latency / np.maximum(costs @ weights, LEAST_MS))
        by_group: dict[str, list[float]] = defaultdict(list)
        for kernel, value in zip(kernels, residual.tolist(), strict=True):
            by_group[group(kernel)].append(value)
        return cls(weights, {g: sum(found) / (len(found) + SHRINK) for g, found in by_group.items()})

    def predict(self, kernels: Sequence[Kernel]) -> Floats:
        """Milliseconds, :data:`NODE_MS` included, shape (n,)."""
        factor = np.array([self.factors.get(group(kernel), 0.0) for kernel in kernels])
        return np.asarray(np.maximum(rows(kernels).costs @ self.weights, LEAST_MS) * np.exp(factor))


@dataclass
class LearnedKernels:
    """Learns each group when it is asked for first.

    Args:
        entries: measured kernels and their times in ms, at least :data:`lut.predictors.residual.MIN_ROWS`.
        seed: of folds and of which rows are learned from.

    Raises:
        InputError: there are too few.
    """

    entries: Mapping[Kernel, float]
    seed: int = 0
    _groups: dict[str, Predict | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        usable = {k: ms + NODE_MS for k, ms in self.entries.items() if not is_view(k)}
        if len(usable) < MIN_ROWS:
            raise InputError(
                f"{MIN_ROWS} measured kernels or more are needed to predict others, not {len(usable)}: profile more "
                "networks, or run hwbench collect"
            )
        self._usable = usable
        self._pooled = Pooled.of(usable)

    def predict_ms(self, kernels: Sequence[Kernel]) -> Floats:
        """What each of `kernels` costs inside a network, shape (n,)."""
        found = np.full(len(kernels), LEAST_MS)
        places: dict[str, list[int]] = defaultdict(list)
        for place, kernel in enumerate(kernels):
            if not is_view(kernel):
                places[group(kernel)].append(place)
        for name, where in places.items():
            some = [kernels[place] for place in where]
            model = self._of(name)
            predicted = self._pooled.predict(some) if model is None else np.asarray(model(some))
            found[where] = np.maximum(predicted - NODE_MS, LEAST_MS)
        return found

    def _of(self, name: str) -> Predict | None:
        if name not in self._groups:
            self._groups[name] = self._fit(name)
        return self._groups[name]

    def _fit(self, name: str) -> Predict | None:
        kernels = [kernel for kernel in self._usable if group(kernel) == name]
        if len(kernels) < MIN_ROOFLINE:
            return None
        if len(kernels) < MIN_ROWS:
            weights = fit_costs(rows(kernels).costs, np.array([self._usable[kernel] for kernel in kernels]))
            return lambda some: np.maximum(rows(some).costs @ weights, NODE_MS)
        if len(kernels) > MOST_ROWS:
            picks = np.random.default_rng(self.seed).permutation(len(kernels))[:MOST_ROWS]
            kernels = [kernels[pick] for pick in sorted(picks.tolist())]
        latency = np.array([self._usable[kernel] for kernel in kernels])
        fitted = RooflineResidual(self.seed).fit(rows(kernels), latency)
        return lambda some: fitted.predict(rows(some))
