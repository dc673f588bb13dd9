"""A limit that is kept: subnets are measured one after the other, and what each says decides which is next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compofa.spaces.layout import encode
from hwbench.telling import note
from lut.promise_tries import Tries

if TYPE_CHECKING:
    from compofa.spaces.arch import Arch
    from hwbench.searching.run import SearchResult
    from hwbench.subnets import Subnet
    from lut.promised import Promised

Measure = Callable[["Arch"], dict[str, Any] | None]
"""What a subnet takes, as :meth:`hwbench.specializing.device.Device.measure` says it; None where nothing can be."""


@dataclass(frozen=True)
class Attempt:
    """A subnet that was measured to see what it promises.

    Args:
        arch: the subnet.
        predicted_ms: before.
        promised_before_ms: by the model, before it was measured.
        promised_ms: by what was measured; the same if nothing was.
        latency: what was measured; None if nothing was.
    """

    arch: Arch
    predicted_ms: float
    promised_before_ms: float
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
            "promised_before_ms": self.promised_before_ms,
            "latency_ms": self.latency_ms,
            "promised_ms": self.promised_ms,
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
    one, tried, promise = keep(found, promise, limit_ms, take, tries)
    return (
        one.arch,
        one.latency,
        {
            "confidence": promise.confidence,
            "pace": promise.bound.pace,
            "promised_ms": one.promised_ms,
            "rests_on": promise.bound.rests_on(one.latency is not None),
            "kept": one.promised_ms <= limit_ms,
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
) -> tuple[Attempt, list[Attempt], Promised]:
    """The most accurate subnet of `found` whose own measurement promises the limit (:mod:`lut.promise_tries`), all that
    were tried, and the promise by all that was measured.

    Args:
        found: one search within `limit_ms`.
        promise: that it kept.
        limit_ms: in milliseconds.
        measure: gives None where nothing can be measured; the first subnet is then taken as it is.
        tries: at most so many.
    """
    subnets = _candidates(found)
    genotypes = encode(promise.family, [subnet.arch for subnet in subnets])
    state = Tries(promise, limit_ms, genotypes, np.array([subnet.accuracy for subnet in subnets]))
    predicted_ms = promise.cost.predict(genotypes)
    before: dict[int, float] = {}
    taken: dict[int, dict[str, Any]] = {}
    while len(taken) < tries and (place := state.next()) is not None:
        before[place] = float(state.promise.predict(genotypes[[place]])[0])
        latency = measure(subnets[place].arch)
        if latency is None:
            only = Attempt(
                subnets[place].arch, float(predicted_ms[place]), before[place], before[place], None
            )
            return only, [only], promise
        taken[place] = latency
        state.measured_ms[place] = float(latency["latency_ms"])
        _say(subnets[place].arch, state, place)
    bounds = state.bounds()
    attempts = {
        place: Attempt(
            subnets[place].arch, float(predicted_ms[place]), before[place], bounds[place], taken[place]
        )
        for place in taken
    }
    return attempts[state.chosen()], list(attempts.values()), state.promise


def _candidates(found: SearchResult) -> list[Subnet]:
    """The best subnet within the limit and those of the frontier, each once, that keep the other limits."""
    (best,) = found.best
    most = {cost.name: found.constraints[0].get(cost.name, np.inf) for cost in found.counted}
    distinct = {subnet.arch: subnet for subnet in ([best] if best else []) + found.frontier}
    return [
        subnet
        for subnet in distinct.values()
        if all(subnet.costs[name] <= limit for name, limit in most.items())
    ]


def _say(arch: Arch, state: Tries, place: int) -> None:
    took, promised, limit = state.measured_ms[place], state.bounds()[place], state.limit_ms
    verdict = (
        "is over the limit"
        if took > limit
        else "may exceed the limit"
        if promised > limit
        else "keeps the limit"
    )
    note(f"{arch} takes {took:.4g} ms, is promised {promised:.4g} ms by that: it {verdict}")
