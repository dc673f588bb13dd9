"""What subnets cost: the one protocol that searches and frontiers know, and the costs that follow from a network alone.

A table's latencies (:class:`lut.model.LatencyModel`), a model of whole subnets (:class:`lut.subnet_model.SubnetModel`),
multiply-accumulates, parameters and memory for activations all answer it. MACs and parameters are sums over blocks, so
they are arrays over genotypes as a table's latencies are. Memory is not: a network needs what its hungriest block
needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block
from compofa.errors import InputError
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, layout
from compofa.spaces.space import Space
from lut.lookup import Lookup, block_arrays

Floats = NDArray[np.float64]

BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int16": 2, "int8": 1, "int4": 0.5}
"""Of a value of each precision."""


class Setting(NamedTuple):
    """How the networks run whose cost it is."""

    precision: str
    batch: int
    classes: int


class CostModel(Protocol):
    """What a subnet of a family costs. Lower is better; the unit stands in :attr:`unit` and in :attr:`name`.

    An open table is one, and so are models that ``fit`` gives, counts such as MACs, and any class of these methods.

    >>> import hwbench
    >>> cost = hwbench.open_table(hwbench.reference_table())
    >>> space = hwbench.get_space("compofa", cost.family)
    >>> cost.name, cost.unit, cost.predict(space.enumerate_genotypes()).shape
    ('latency_ms', 'ms', (1215,))
    """

    @property
    def name(self) -> str:
        """What a column of it is called, with the unit: ``latency_ms``, ``macs_m``."""

    @property
    def label(self) -> str:
        """The same for people: ``latency (ms)``."""

    @property
    def unit(self) -> str:
        """Of what is predicted."""

    @property
    def family(self) -> Family:
        """Whose subnets it answers for."""

    @property
    def provenance(self) -> str:
        """How the answers come about: predicted by what, or counted."""

    @property
    def of(self) -> str:
        """What the answers are of: the target; for what no device changes, the networks."""

    @property
    def setting(self) -> Setting | None:
        """Precision, batch and classes that it holds for; None if it does not say."""

    def predict(self, genotypes: Genotypes) -> Floats:
        """Costs, shape (n,), of genotypes, shape (n, columns)."""

    def as_lookup(self) -> Lookup | None:
        """The same as arrays, if it is additive over blocks."""

    def failures_in(self, space: Space) -> Mapping[Block, str]:
        """Blocks of `space` that cannot run where it was measured, and why."""

    def resolutions_in(self, space: Space) -> tuple[int, ...]:
        """Resolutions of the family that it knows all subnets of `space` at.

        Raises:
            MissingEntry: it should know them, but lacks some block; names the first.
        """

    def unknown_in(self, space: Space) -> str | None:
        """A choice of `space` that it knows nothing of, in words."""

    def describe(self, file: Path | None) -> dict[str, Any]:
        """Where the numbers come from, JSON-ready; `file` is what it was read from."""


@dataclass(frozen=True)
class Counted:
    """A cost that follows from the network alone, on any device: no subnet of the family is unknown to it.

    Args:
        family: whose subnets.
        name: of its column, with the unit.
        quantity: what is counted, for people.
        unit: of what is predicted.
    """

    family: Family
    name: str
    quantity: str
    unit: str

    @property
    def label(self) -> str:
        """Quantity and unit."""
        return f"{self.quantity} ({self.unit})"

    @property
    def provenance(self) -> str:
        """It is counted."""
        return "counted from the networks' operations"

    @property
    def of(self) -> str:
        """It is of the networks, on any device."""
        return "any device"

    @property
    def setting(self) -> Setting | None:
        """The number of classes may be any."""
        return None

    def failures_in(self, space: Space) -> Mapping[Block, str]:
        """None: it can always be counted."""
        return {}

    def resolutions_in(self, space: Space) -> tuple[int, ...]:
        """All."""
        return tuple(r for r in self.family.resolutions if r in space.resolutions)

    def unknown_in(self, space: Space) -> str | None:
        """Nothing."""
        return None

    def describe(self, file: Path | None) -> dict[str, Any]:
        """Quantity and unit."""
        return {
            "quantity": self.quantity,
            "unit": self.unit,
            "origin": "counted",
            "provenance": self.provenance,
        }


@dataclass(frozen=True)
class SumOfBlocks(Counted):
    """A cost that is a sum over blocks.

    Args:
        of_block: what a block adds.
    """

    of_block: Callable[[Block], float]

    @cached_property
    def lookup(self) -> Lookup:
        """The cost as arrays over genotypes."""
        return Lookup.build(self.family, lambda block, resolution: self.of_block(block))

    def predict(self, genotypes: Genotypes) -> Floats:
        """Costs, shape (n,), of genotypes, shape (n, columns)."""
        return self.lookup.predict(genotypes)

    def as_lookup(self) -> Lookup | None:
        """The cost as arrays over genotypes."""
        return self.lookup


@dataclass(frozen=True)
class PeakMemory(Counted):
    """The most memory that a subnet needs for activations at once: that of its hungriest block, since shortcuts end
    inside blocks. Weights are left out.

    Args:
        precision: of the activations.
        batch: images at once.
    """

    precision: str
    batch: int

    @cached_property
    def _arrays(self) -> tuple[Floats, Floats]:
        def of_block(block: Block, resolution: int) -> float:
            return memory_mb(block, self.precision, self.batch)

        return block_arrays(self.family, of_block, np.maximum)

    def predict(self, genotypes: Genotypes) -> Floats:
        """Megabytes (10^6 bytes), shape (n,), of genotypes, shape (n, columns)."""
        at = layout(self.family)
        at.check(genotypes)
        fixed, slots = self._arrays
        contexts = at.contexts_of_slots(genotypes).T
        mine = slots[contexts, np.arange(at.slots), genotypes[:, 1 : 1 + at.slots]]
        found: Floats = np.maximum(fixed[genotypes[:, 0]], mine.max(axis=1))
        return found

    def as_lookup(self) -> Lookup | None:
        """None: it is no sum."""
        return None

    def describe(self, file: Path | None) -> dict[str, Any]:
        """With the precision and the batch."""
        return {**super().describe(file), "precision": self.precision, "batch": self.batch}


def macs(family: Family) -> SumOfBlocks:
    """Millions of multiply-accumulates for one image."""
    return SumOfBlocks(family, "macs_m", "MACs", "M", lambda block: block.macs / 1e6)


def params(family: Family) -> SumOfBlocks:
    """Millions of parameters."""
    return SumOfBlocks(family, "params_m", "parameters", "M", lambda block: block.params / 1e6)


def peak_memory(family: Family, precision: str = "fp32", batch: int = 1) -> PeakMemory:
    """Megabytes of activations at once."""
    return PeakMemory(family, "memory_mb", "memory for activations", "MB", precision, batch)


COUNTED: dict[str, Callable[[Family], CostModel]] = {"macs": macs, "params": params, "memory": peak_memory}
"""Costs that need no table, by the names that commands know them by."""


def memory_mb(block: Block, precision: str, batch: int) -> float:
    """The most that a block holds at once of activations, in MB (10^6 bytes), weights left out.

    Raises:
        InputError: nobody has said how large a value of that precision is.
    """
    if precision not in BYTES:
        raise InputError(f"what memory values of {precision} take is not known; of {', '.join(BYTES)} it is")
    return batch * block.peak_activations * BYTES[precision] / 1e6


def within_memory(space: Space, limit_mb: float, precision: str, batch: int) -> Space:
    """`space` less the subnets that need more memory for activations than `limit_mb`; exact.

    Raises:
        InputError: no subnet is left; says what the least hungry one needs.
    """
    needs = {block: memory_mb(block, precision, batch) for block in space.all_blocks()}
    kept = space.without(block for block, mb in needs.items() if mb > limit_mb)
    if not kept.resolutions:
        least = next(mb for mb in sorted(needs.values()) if space.without(_above(needs, mb)).resolutions)
        raise InputError(
            f"no subnet of space {space.name} needs {limit_mb:g} MB or less for activations ({precision}, batch "
            f"{batch}): the least hungry one needs {least:.4g} MB"
        )
    return kept


def _above(needs: dict[Block, float], limit_mb: float) -> Sequence[Block]:
    return [block for block, mb in needs.items() if mb > limit_mb]
