"""Sums of kernels become latencies of networks: dispatch and cold weights are what a sum leaves out.

``latency = scale x sum of kernels + a x nodes + b x views + c x bytes of weights``, no price negative, fitted on the
networks that a table holds. The interval is conformal (:mod:`lut.predictors.conformal` says what that is): from the
errors on networks of the table that were predicted without them, both from their own kernels and as if none of their
kernels had been measured; a network of which a share is known lies in between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backends.kernels.costs import is_view
from backends.kernels.kernel import Kernel
from compofa.errors import InputError
from lut.kernels.learned import LearnedKernels
from lut.kernels.table import KernelTable, NetworkEntry
from lut.predictors.base import Floats, Rows, random_folds
from lut.predictors.linear import Additive

MIN_NETWORKS = 10
"""Fewer say little about what a sum leaves out, and less about the error."""
FOLDS = 5
LEAST_ERROR = 0.002
"""Of a log latency: no interval is narrower."""

Counts = Mapping[Kernel, int]


@dataclass(frozen=True)
class KernelGuess:
    """What a kernel of a network costs.

    Args:
        kernel: which.
        nodes: that run it.
        latency_ms: of one run.
        origin: ``measured``, as the table has it, or ``predicted``.
    """

    kernel: Kernel
    nodes: int
    latency_ms: float
    origin: str


@dataclass(frozen=True)
class NetworkPrediction:
    """The latency of a network that was not run.

    Args:
        latency_ms: predicted.
        low_ms, high_ms: where a measurement lies with the coverage that was asked for; None where the table has too few
            networks to tell.
        known_share: of the sum of kernels, how much the table has measured.
        sum_ms: of the kernels.
        kernels: the one that costs most in all first.
    """

    latency_ms: float
    low_ms: float | None
    high_ms: float | None
    known_share: float
    sum_ms: float
    kernels: tuple[KernelGuess, ...]


class NetworkModel:
    """Predicts networks from a table of kernels.

    Args:
        table: with kernels and networks.
        seed: of folds.
    """

    def __init__(self, table: KernelTable, seed: int = 0) -> None:
        self.table, self.seed = table, seed
        self.measured = {k: m.latency_ms for k, m in table.entries.items()}
        by_key = table.by_key
        usable = [n for n in table.networks if n.kernels and n.kernels.keys() <= by_key.keys()]
        # a name is a file's: two models may share it
        latest = {(network.name, *sorted(network.kernels.items())): network for network in usable}
        self.networks: list[NetworkEntry] = list(latest.values())
        self._counts: list[Counts] = [
            {by_key[key]: count for key, count in network.kernels.items()} for network in self.networks
        ]
        self._latency_ms = np.array([network.measurement.latency_ms for network in self.networks])

    @property
    def calibrated(self) -> bool:
        """Whether there are networks enough; plain sums are given if not."""
        return len(self.networks) >= MIN_NETWORKS

    def predict(self, counts: Counts, coverage: float = 0.9) -> NetworkPrediction:
        """The latency of a network.

        Args:
            counts: how many of its nodes run which kernel.
            coverage: of the interval.

        Raises:
            InputError: the table has too few kernels to predict those that it lacks, or too few networks for the
                coverage.
        """
        guesses = self._guesses(counts)
        times = {guess.kernel: guess.latency_ms for guess in guesses}
        known = sum(g.nodes * g.latency_ms for g in guesses if g.origin == "measured")
        total = sum(g.nodes * g.latency_ms for g in guesses)
        share = known / total if total else 1.0
        latency = total
        low = high = None
        if self.calibrated:
            latency = float(self._scale.predict(_rows([counts], [times]))[0])
            half = self._half_width(1 - share, coverage)
            low, high = latency * math.exp(-half), latency * math.exp(half)
        return NetworkPrediction(latency, low, high, share, total, guesses)

    def _guesses(self, counts: Counts) -> tuple[KernelGuess, ...]:
        unknown = [kernel for kernel in counts if kernel not in self.measured and not is_view(kernel)]
        learned = (
            dict(zip(unknown, self._learned.predict_ms(unknown).tolist(), strict=True)) if unknown else {}
        )
        found = [
            KernelGuess(
                kernel,
                nodes,
                learned[kernel] if kernel in learned else self.measured.get(kernel, 0.0),
                "predicted" if kernel in learned else "measured",
            )
            for kernel, nodes in counts.items()
        ]
        return tuple(sorted(found, key=lambda guess: -guess.nodes * guess.latency_ms))

    @cached_property
    def _learned(self) -> LearnedKernels:
        return LearnedKernels(self._entries(), self.seed)

    def _entries(self, without: Sequence[int] = ()) -> dict[Kernel, float]:
        """Measured kernels, without those that only networks at `without` have."""
        left_out = {kernel for i in without for kernel in self._counts[i]}
        others = set(range(len(self._counts))) - set(without)
        kept = {kernel for i in others for kernel in self._counts[i]}
        return {k: ms for k, ms in self.measured.items() if k in kept or k not in left_out}

    # --- calibration ---

    @cached_property
    def _times(self) -> list[Mapping[Kernel, float]]:
        """Of the table's networks, with what is predicted for kernels that were not measured."""
        return [{g.kernel: g.latency_ms for g in self._guesses(counts)} for counts in self._counts]

    @cached_property
    def _scale(self) -> Additive:
        return _fit(self._counts, self._times, self._latency_ms)

    @cached_property
    def known_errors(self) -> Floats:
        """Log of measured over predicted of each network, from its own kernels as far as they are measured, calibrated
        on the others; shape (networks,)."""
        return self._errors(self._times)

    @cached_property
    def unknown_errors(self) -> Floats:
        """The same as if none of the network's own kernels had been measured."""
        times: list[Mapping[Kernel, float]] = [{}] * len(self.networks)
        for fold in random_folds(len(self.networks), FOLDS, self.seed):
            held_out = fold.tolist()
            entries = self._entries(without=held_out)
            learned = LearnedKernels(entries, self.seed)
            for i in held_out:
                kernels = list(self._counts[i])
                predicted = dict(zip(kernels, learned.predict_ms(kernels).tolist(), strict=True))
                times[i] = predicted | {k: entries[k] for k in kernels if k in entries}
        return self._errors(times)

    def _errors(self, times: Sequence[Mapping[Kernel, float]]) -> Floats:
        return self.leave_one_out(self._counts, self._times, self._latency_ms, times)

    @staticmethod
    def leave_one_out(
        counts: Sequence[Counts],
        times: Sequence[Mapping[Kernel, float]],
        latency_ms: Floats,
        asked: Sequence[Mapping[Kernel, float]] | None = None,
    ) -> Floats:
        """Log of measured over predicted of each network, calibrated on the others, shape (networks,).

        Args:
            counts: how many nodes run which kernel, of each network.
            times: what its kernels cost in ms.
            latency_ms: measured, shape (networks,).
            asked: what its kernels are taken to cost where it is predicted itself; `times` unless given.
        """
        found = np.empty(len(counts))
        for i in range(len(counts)):
            others = [j for j in range(len(counts)) if j != i]
            scale = _fit([counts[j] for j in others], [times[j] for j in others], latency_ms[others])
            predicted = scale.predict(_rows([counts[i]], [(asked or times)[i]]))[0]
            found[i] = math.log(latency_ms[i] / predicted)
        return found

    def _half_width(self, unknown_share: float, coverage: float) -> float:
        """Of the interval, in log latency."""
        known, unknown = (_quantile(errors, coverage) for errors in (self.known_errors, self.unknown_errors))
        # Variances, not widths: what is unknown adds to what is known.
        widened = max(unknown**2 - known**2, 0.0) * unknown_share
        return max(math.sqrt(known**2 + widened), LEAST_ERROR)


def _quantile(errors: Floats, coverage: float) -> float:
    rank = math.ceil(coverage * (len(errors) + 1))
    if rank > len(errors):
        most = len(errors) / (len(errors) + 1)
        raise InputError(f"{len(errors)} networks in the table promise no coverage above {most:.3f}")
    return float(np.sort(np.abs(errors))[rank - 1])


def _fit(counts: Sequence[Counts], times: Sequence[Mapping[Kernel, float]], latency_ms: Floats) -> Additive:
    return Additive().fit(_rows(counts, times), latency_ms)


def _rows(counts: Sequence[Counts], times: Sequence[Mapping[Kernel, float]]) -> Rows:
    """Of n networks: nodes and views are launched; the sum of kernels (ms) and weights (bytes) are work."""
    launches, work = [], []
    for network, ms in zip(counts, times, strict=True):
        views = sum(n for kernel, n in network.items() if is_view(kernel))
        launches.append([sum(network.values()) - views, views])
        total = sum(n * ms[kernel] for kernel, n in network.items())
        work.append([total, sum(n * kernel.weight_bytes for kernel, n in network.items())])
    linear = {"launches": np.array(launches, dtype=float), "work": np.array(work, dtype=float)}
    return Rows(linear, linear["work"], np.maximum(linear["work"][:, 0], 1e-9))
