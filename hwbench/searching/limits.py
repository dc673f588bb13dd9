"""Limits as they are asked for, by the names of targets, and as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compofa.errors import InputError

if TYPE_CHECKING:
    from hwbench.inputs.costs import Source
    from hwbench.searching.problem import Problem
    from lut.lookup import Lookup

SPARE = 2.0
"""Times the largest additive cost, which stands for no limit: a model that is not additive may say more."""

Limit = float | Mapping[str, float]


def constraints_of(
    latency_ms: Limit | Sequence[Limit], sources: Mapping[str, Source], counted: Mapping[str, float]
) -> list[dict[str, float]]:
    """What each result must meet; limits of counted costs hold for all."""
    limits = latency_ms if isinstance(latency_ms, Sequence) else [latency_ms]
    own = {source.cost.name: name for name, source in sources.items()}
    always = {own.get(cost, cost): limit for cost, limit in counted.items()}
    found = [{**_limit(limit, list(sources)), **always} for limit in limits]
    return found or ([always] if always else [])


def _limit(limit: Limit, names: Sequence[str]) -> dict[str, float]:
    """Limits by name.

    Raises:
        InputError: one names no target, or none where there are several, or is not positive.
    """
    given = dict(limit) if isinstance(limit, Mapping) else {"": limit}
    found: dict[str, float] = {}
    for name, value in given.items():
        if name and name not in names:
            raise InputError(
                f"--latency-ms {name}={value:g}: there is no target {name!r}, only {', '.join(names)}"
            )
        if not name and len(names) > 1:
            raise InputError(f"--latency-ms {value:g}: say of which target, as in {names[0]}={value:g}")
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{value!r} is not a latency: give milliseconds as a positive number")
        found[name or names[0]] = value
    return found


def limits_of(constraints: Sequence[dict[str, float]], problem: Problem, names: Sequence[str]) -> np.ndarray:
    """Constraints as limits, shape (constraints, costs); a cost without one gets what no subnet exceeds."""
    largest = [np.inf] * len(names)
    if any(len(c) < len(names) for c in constraints):
        largest = [SPARE * _most(cost) for cost in problem.additive_costs]
    rows = [[c.get(name, most) for name, most in zip(names, largest, strict=True)] for c in constraints]
    return np.array(rows).reshape(len(rows), len(names))


def _most(cost: Lookup) -> float:
    """More than any subnet costs."""
    slots = np.where(np.isfinite(cost.slots), cost.slots, 0.0)  # not known, or cannot run
    return float(np.nanmax(cost.fixed) + slots.max(axis=(0, 2)).sum())
