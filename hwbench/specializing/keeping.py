"""A limit that is kept: what was found is measured, and where it misses the limit, the next one is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compofa.spaces.layout import encode
from hwbench.telling import note

if TYPE_CHECKING:
    from compofa.spaces.arch import Arch
    from hwbench.searching.run import SearchResult
    from lut.promised import Promised

Measure = Callable[["Arch"], dict[str, Any] | None]
"""What a subnet takes, as :meth:`hwbench.specializing.device.Device.measure` says it; None where nothing can be."""


@dataclass(frozen=True)
class Attempt:
    """A subnet that was measured because it promised to keep the limit.

    Args:
        arch: the subnet.
        accuracy: by which it was chosen.
        predicted_ms, promised_ms: before.
        latency: what was measured; None if nothing was.
    """

    arch: Arch
    accuracy: float
    predicted_ms: float
    promised_ms: float
    latency: dict[str, Any] | None

    @property
    def latency_ms(self) -> float | None:
        """Measured, or modelled."""
        return float(self.latency["latency_ms"]) if self.latency else None

    def to_dict(self) -> dict[str, Any]:
        """A row of the card, JSON-ready."""
        return {
            "arch": str(self.arch),
            "predicted_ms": self.predicted_ms,
            "promised_ms": self.promised_ms,
            "latency_ms": self.latency_ms,
        }


def take_kept(
    found: SearchResult, limit_ms: float, take: Measure, tries: int
) -> tuple[Arch, dict[str, Any] | None, dict[str, Any] | None]:
    """The subnet, what it takes, and, where a promise was asked for, what the card says of it."""
    (best,) = found.best
    assert best is not None  # a search without an answer raises
    if not found.promises:
        return best.arch, take(best.arch), None
    ((_, promise),) = found.promises.items()
    one, tried = keep(found, promise, limit_ms, take, tries)
    return (
        one.arch,
        one.latency,
        {
            "confidence": promise.confidence,
            "pace": promise.bound.pace,
            "promised_ms": one.promised_ms,
            "tries": [attempt.to_dict() for attempt in tried],
        },
    )


def said_of(found: SearchResult, latency_ms: float | None, picked: Arch) -> dict[str, Any]:
    """What the search said of the subnet that was taken."""
    document = found.to_dict()
    limit = document["results"][0]["constraint"]
    rows = (*document["results"], *document["frontier"])
    row = next(row for row in rows if row["arch"] == str(picked))
    names = ("method", "accuracy", "accuracy_is", "accuracy_mae")
    target = next(iter(document["targets"].values()))
    return {
        "constraint_ms": limit if isinstance(limit, float | int) else latency_ms,
        "target": target["device"],
        "predicted_latency_ms": row["latency_ms"],
        "expected_accuracy": row["accuracy"],
        **{name: document[name] for name in names},
    }


def keep(
    found: SearchResult, promise: Promised, limit_ms: float, measure: Measure, tries: int
) -> tuple[Attempt, list[Attempt]]:
    """The first subnet of `found` that keeps the limit when it is measured; if none of `tries` does, the one that
    exceeds it least. And all that were tried.

    A subnet that misses says more of those like it than the calibration's networks do: the others then count as off by
    as much as those that missed.

    Args:
        found: one search within `limit_ms`.
        promise: that it kept.
        limit_ms: in milliseconds.
        measure: gives None where nothing can be measured; the first subnet is then taken as it is.
        tries: at most so many.
    """
    tried: list[Attempt] = []
    for attempt in _candidates(found, promise, limit_ms, measure):
        tried.append(attempt)
        if attempt.latency_ms is None or attempt.latency_ms <= limit_ms or len(tried) == tries:
            break
        note(
            f"{attempt.arch} was promised {attempt.promised_ms:.4g} ms and takes {attempt.latency_ms:.4g} ms: the next "
            "one is tried"
        )
    return min(tried, key=lambda one: one.latency_ms or 0.0), tried


def _candidates(
    found: SearchResult, promise: Promised, limit_ms: float, measure: Measure
) -> Iterator[Attempt]:
    """The most accurate subnet within the limit, and after each that missed it the most accurate one of the frontier
    that is within it by what is known by then."""
    (best,) = found.best
    subnets = [*([best] if best else []), *found.frontier]
    genotypes = encode(promise.family, [subnet.arch for subnet in subnets])
    expected_ms = promise.expected_ms(genotypes)
    accuracy = np.array([subnet.accuracy for subnet in subnets])
    most = {cost.name: found.constraints[0].get(cost.name, np.inf) for cost in found.counted}
    left = np.array([all(subnet.costs[name] <= limit for name, limit in most.items()) for subnet in subnets])
    off: list[float] = []
    while True:
        bounds_ms = promise.predict(genotypes)
        fits = np.flatnonzero(left & (bounds_ms <= limit_ms))
        if not len(fits):
            return
        one = int(fits[np.argmax(accuracy[fits])])
        predicted_ms = float(promise.cost.predict(genotypes[[one]])[0])
        latency = measure(subnets[one].arch)
        yield Attempt(subnets[one].arch, float(accuracy[one]), predicted_ms, float(bounds_ms[one]), latency)
        if latency is None:
            return
        off.append(latency["latency_ms"] / float(expected_ms[one]))
        promise = promise.observing(off)
        left &= (genotypes != genotypes[one]).any(axis=1)
