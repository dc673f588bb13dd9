"""A model of whole subnets (``hwbench fit``) where a search or a frontier wants latencies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compofa.errors import InputError
from compofa.spaces.coverage import Coverage
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes
from compofa.spaces.space import Space
from hwbench import cli
from lut.predictors.base import Floats
from lut.subnet_model import SubnetModel


@dataclass(frozen=True)
class SubnetLatency:
    """Stands where :class:`lut.model.LatencyModel` does, but is not additive over blocks."""

    model: SubnetModel

    @classmethod
    def load(cls, path: Path) -> SubnetLatency:
        """What ``hwbench fit`` wrote to `path`.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no such file.
        """
        try:
            model = SubnetModel.load(path)
        except ValueError as error:
            raise InputError(f"{error} (give a file that hwbench fit wrote)") from error
        if model.about.get("chosen_anew"):
            cli.note(
                f"another version of hwbench wrote {path}: it was chosen and fitted anew; fit writes it again"
            )
        return cls(model)

    @property
    def family(self) -> Family:
        """Whose subnets it knows."""
        return self.model.family

    @property
    def target(self) -> str:
        """What the latencies are of, as far as the measured file told."""
        told = self.model.about.get("target")
        return f"{told}, column {self.model.column}" if told else f"column {self.model.column}"

    @property
    def provenance(self) -> str:
        """How the answers come about."""
        weights = " + ".join(f"{weight:.1f} {name}" for name, weight in self.model.predictor.weights.items())
        return f"predicted by {weights}, fitted on {len(self.model.genotypes)} measured subnets"

    def predict_ms(self, genotypes: Genotypes) -> Floats:
        """Latency of each subnet, shape (n,), from genotypes of shape (n, 1 + slots)."""
        return self.model.predict_ms(genotypes)

    def lacks(self, space: Space) -> str | None:
        """A choice of `space` that nothing measured had, anywhere in its unit, in words; None if there is none."""
        return Coverage.of(self.family, self.model.genotypes, by_unit=True).lacks_of_space(
            space.used_choices()
        )

    def covered_resolutions(self, path: Path) -> tuple[int, ...]:
        """Those that something was measured at; says so if they are not all that the family has."""
        measured = {self.family.resolutions[i] for i in self.model.genotypes[:, 0]}
        covered = tuple(r for r in self.family.resolutions if r in measured)
        if len(covered) < len(self.family.resolutions):
            sides = ", ".join(map(str, covered))
            cli.note(f"{path} was fitted at {sides} px only: subnets of other resolutions are left out")
        return covered

    def describe(self, path: Path) -> dict[str, Any]:
        """What the latencies are, JSON-ready."""
        return {
            "model": str(path),
            "latency": self.provenance,
            "origin": "predicted",
            "column": self.model.column,
            "target": self.model.about.get("target"),
        }
