"""Subnets with their accuracy and what they cost, as searches and frontiers give them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwbench.extras import need

if TYPE_CHECKING:
    from compofa.spaces.arch import Arch


@dataclass(frozen=True)
class Subnet:
    """A subnet, its accuracy, and its costs.

    Args:
        arch: the subnet.
        accuracy: a fraction.
        costs: by name, with the unit in it: ``latency_ms``, ``macs_m``.
        may_miss: accuracy by which a subnet that the search did not see may be better; None if that was not asked.
    """

    arch: Arch
    accuracy: float
    costs: Mapping[str, float]
    may_miss: float | None = None

    @property
    def latency_ms(self) -> float:
        """In milliseconds, where it is the only latency.

        Raises:
            KeyError: there is none, or one for each of several targets.
        """
        return self.costs["latency_ms"]

    def to_dict(self) -> dict[str, Any]:
        """A row, JSON-ready."""
        missed = {} if self.may_miss is None else {"may_miss": self.may_miss}
        return {"arch": str(self.arch), "accuracy": self.accuracy, **self.costs, **missed}

    def __str__(self) -> str:
        costs = ", ".join(f"{name} {value:.4g}" for name, value in self.costs.items())
        return f"{self.arch}: accuracy {100 * self.accuracy:.2f} %, {costs}"


def to_frame(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Rows as a pandas data frame.

    Raises:
        Unavailable: pandas is not installed.
    """
    need("pandas", "to_frame()")
    return importlib.import_module("pandas").DataFrame(list(rows))
