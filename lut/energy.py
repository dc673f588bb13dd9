"""The energy of networks from a table that was built with ``--energy yes``: sums of its blocks' millijoules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block
from compofa.errors import InputError
from compofa.spaces.layout import Genotypes
from lut.lookup import Lookup
from lut.of_table import OfTable

DETAIL = "energy_mj"
"""Of a measurement: millijoules of a run (:mod:`backends.measuring.energy`)."""


@dataclass(frozen=True)
class EnergyModel(OfTable):
    """Millijoules of a run of a network, as the sum of its blocks'; a :class:`lut.costs.CostModel`.

    Raises:
        InputError: the table holds no energies.
    """

    name = "energy_mj"
    label = "energy (mJ)"
    unit = "mJ"

    def __post_init__(self) -> None:
        if not any(math.isfinite(self.block_mj(block)) for block in self.table.entries):
            raise InputError(
                f"the table of {self.table.target} holds no energies: build it with --energy yes"
            )

    @property
    def provenance(self) -> str:
        """They are plain sums: energies are not calibrated."""
        return f"sum of the energies of the table's blocks, {self.table.provenance}"

    def block_mj(self, block: Block, resolution: int | None = None) -> float:
        """What `block` adds, NaN if it is not known."""
        entry = self.table.entry(block, resolution)
        found = dict(entry.details).get(DETAIL) if entry else None
        return float(found) if isinstance(found, float | int) else math.nan

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup.build(self.family, self.block_mj)

    def as_lookup(self) -> Lookup | None:
        """The sums as arrays over genotypes."""
        return self._lookup

    def predict(self, genotypes: Genotypes) -> NDArray[np.float64]:
        """Millijoules of a run of each subnet, shape (n,), from genotypes of shape (n, columns).

        Raises:
            MissingEntry: a subnet has a block whose energy is not in the table.
        """
        return self._lookup.predict(genotypes)

    def describe(self, file: Path | None) -> dict[str, Any]:
        """File, target, and how the energies come about, JSON-ready."""
        return {
            "lut": file and str(file),
            "quantity": "energy",
            "provenance": self.provenance,
            "blocks": self.table.origins,
            **self.table.target.to_dict(),
        }
