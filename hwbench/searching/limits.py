"""Limits as they are asked for, by the names of targets, and as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
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
    latency_ms: Limit | Iterable[Limit], sources: Mapping[str, Source], counted: Mapping[str, float]
) -> list[dict[str, float]]:
    """What each result must meet; limits of counted costs hold for all.

    Raises:
        InputError: one names no target, or none where there are several, is of what is no latency, or no positive
            number.
    """
    limits = [latency_ms] if isinstance(latency_ms, Mapping | str) else latency_ms
    limits = list(limits) if isinstance(limits, Iterable) else [limits]
    own = {source.cost.name: name for name, source in sources.items()}
    always = {own.get(cost, cost): limit for cost, limit in counted.items()}
    found = [{**_limit(limit, sources), **always} for limit in limits]
    return found or ([always] if always else [])


def check_positive(name: str, limit: float | None) -> None:
    """Raise InputError unless a limit is a finite number above 0, or None."""
    if limit is not None and not _is_positive(limit):
        raise InputError(f"{name} must be a positive number, not {limit!r}")


def _is_positive(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value) and float(value) > 0


def _limit(limit: Limit, sources: Mapping[str, Source]) -> dict[str, float]:
    """Limits by name; errors as :func:`constraints_of`."""
    given = dict(limit) if isinstance(limit, Mapping) else {"": limit}
    names = list(sources)
    found: dict[str, float] = {}
    for name, value in given.items():
        if not _is_positive(value):
            raise InputError(f"{value!r} is not a latency: give milliseconds as a positive number")
        if name and name not in names:
            raise InputError(
                f"--latency-ms {name}={value:g}: there is no target {name!r}, only {', '.join(names)}"
            )
        if not name and len(names) > 1:
            raise InputError(f"--latency-ms {value:g}: say of which target, as in {names[0]}={value:g}")
        cost = sources[name or names[0]].cost
        if not cost.name.endswith("_ms"):
            raise InputError(f"latency_ms limits latencies, and {name or names[0]} is one of {cost.label}")
        found[name or names[0]] = float(value)
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
