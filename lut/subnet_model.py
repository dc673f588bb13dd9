"""A latency model of whole subnets, learned from measurements of some: no table of blocks is needed.

It is kept as what was measured, the settings, what cross-validation chose, and the few numbers that estimators
search for long; reading it fits the chosen estimators again with these, so it outlives any version of any
library, and anyone can read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from compofa.blocks import Block
from compofa.errors import InputError
from compofa.files import SEAL, check_seal, parse_json, read_bounded, reading, sealed, write_atomically
from compofa.spaces.arch import Arch
from compofa.spaces.coverage import Coverage
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, decode, encode
from compofa.spaces.registry import family_fields, family_name, get_family
from compofa.spaces.space import Space
from lut.costs import Setting
from lut.lookup import Lookup
from lut.predictors.auto import AutoPredictor
from lut.predictors.base import Floats, Rows
from lut.predictors.subnets import subnet_rows
from lut.scores import mape_pct

FORMAT = "hwbench-subnet-model"
SCHEMA = 1
METHOD = 1
"""Version of features and estimators together: a choice made by another one is made again when it is read."""
LIBRARIES = ("hwbench", "numpy", "scipy", "scikit-learn", "xgboost-cpu")
CHUNK = 8192
"""Subnets at a time: their features then take 50 MB."""


class Prediction(NamedTuple):
    """Latencies in milliseconds and the bounds that hold them, each of shape (n,)."""

    predicted_ms: Floats
    low_ms: Floats
    high_ms: Floats


@dataclass(frozen=True)
class SubnetModel:
    """Predicts the latency of any subnet of a family, as the column of a file measured it.

    Args:
        family: whose subnets.
        column: name of the measurements; the file says no more of their target.
        genotypes: what was fitted on, shape (n, 1 + slots).
        latency_ms: measured, shape (n,).
        predictor: fitted on these.
        about: what else a reader should know: where the rows come from, scores on rows not used.
    """

    family: Family
    column: str
    genotypes: Genotypes
    latency_ms: Floats
    predictor: AutoPredictor
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, family: Family, column: str, genotypes: Genotypes, latency_ms: Floats, predictor: AutoPredictor
    ) -> Self:
        """The model that `predictor` makes of measurements.

        Raises:
            ValueError: too few subnets, or a latency is no positive number.
        """
        predictor.fit(subnet_rows(family, genotypes), latency_ms)
        return cls(family, column, genotypes, latency_ms, predictor)

    def interval(self, genotypes: Genotypes, coverage: float = 0.9) -> Prediction:
        """Latencies of subnets, shape (n, 1 + slots), and bounds that hold the measured one with probability
        `coverage`, for subnets drawn like those of the fit.

        Raises:
            ValueError: they are not genotypes of the family, or so much coverage cannot be promised.
        """
        parts = [self.predictor.answer(rows, coverage) for rows in self._rows(genotypes)]
        if not parts:
            return Prediction(*(np.empty(0) for _ in range(3)))
        return Prediction(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def predict(self, genotypes: Genotypes) -> Floats:
        """Latencies in milliseconds, shape (n,), without bounds, which take longer."""
        return np.concatenate([np.empty(0), *map(self.predictor.predict, self._rows(genotypes))])

    def _rows(self, genotypes: Genotypes) -> Iterator[Rows]:
        """Features of the subnets, some at a time."""
        for start in range(0, len(genotypes), CHUNK):
            yield subnet_rows(self.family, genotypes[start : start + CHUNK])

    def unseen_resolutions(self, genotypes: Genotypes) -> tuple[int, ...]:
        """Resolutions in `genotypes` that nothing was measured at: the intervals promise nothing there."""
        new = np.setdiff1d(genotypes[:, 0], self.genotypes[:, 0])
        return tuple(self.family.resolutions[i] for i in new)

    # --- as a lut.costs.CostModel ---

    name = "latency_ms"
    label = "latency (ms)"
    unit = "ms"

    @property
    def of(self) -> str:
        """What the latencies are of, as far as the measured file told."""
        told = self.about.get("target")
        return f"{told}, column {self.column}" if told else f"column {self.column}"

    @property
    def provenance(self) -> str:
        """How the answers come about."""
        weights = " + ".join(f"{weight:.1f} {name}" for name, weight in self.predictor.weights.items())
        return f"predicted by {weights}, fitted on {len(self.genotypes)} measured subnets"

    @property
    def setting(self) -> Setting | None:
        """None: measured files do not tell."""
        return None

    def as_lookup(self) -> Lookup | None:
        """None: it is no sum over blocks."""
        return None

    def failures_in(self, space: Space) -> dict[Block, str]:
        """None: it knows no blocks."""
        return {}

    def resolutions_in(self, space: Space) -> tuple[int, ...]:
        """Those that something was measured at."""
        measured = {self.family.resolutions[i] for i in self.genotypes[:, 0]}
        return tuple(r for r in self.family.resolutions if r in measured and r in space.resolutions)

    def unknown_in(self, space: Space) -> str | None:
        """A choice of `space` that nothing measured had, anywhere in its unit."""
        seen = Coverage.of(self.family, self.genotypes, by_unit=True)
        return seen.lacks_of_space(space.used_choices())

    def describe(self, file: Path | None) -> dict[str, Any]:
        """File, target, and how the latencies come about, JSON-ready."""
        return {
            "model": file and str(file),
            "latency": self.provenance,
            "origin": "predicted",
            "column": self.column,
            "target": self.about.get("target"),
            "device": self.of,
        }

    # --- files ---

    def save(self, path: Path) -> None:
        """Write the model to `path` at once: a reader sees the old file or the new one.

        Raises:
            OSError: it cannot be written.
        """
        predictor = self.predictor
        head = {
            "format": FORMAT,
            "schema": SCHEMA,
            "method": METHOD,
            **family_fields(self.family.name),
            "column": self.column,
            "origin": "predicted from measurements",
            "settings": {"models": list(predictor.models), "seed": predictor.seed},
            "weights": predictor.weights,
            "searched": predictor.searched(),
            "candidates": predictor.candidates,
            "about": self.about,
            "versions": library_versions(),
        }
        archs = map(str, decode(self.family, self.genotypes))
        rows = [
            {"arch": arch, "measured_ms": measured, "unseen_ms": unseen}
            for arch, measured, unseen in zip(
                archs, self.latency_ms.tolist(), predictor.unseen_ms.tolist(), strict=True
            )
        ]
        head[SEAL] = sealed({**head, "rows": rows})[SEAL]
        text = json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}")
        lines = (json.dumps(row, allow_nan=False) for row in rows)
        write_atomically(path, text + ',\n "rows": [\n' + ",\n".join(lines) + "\n]\n}\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model at `path`: its chosen estimators are fitted again, or, if another version of hwbench chose
        them, chosen anew (``about`` then says so under ``chosen_anew``).

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no model, or of a schema that this version does not read.
        """
        text = read_bounded(path)
        with reading(path, "a hwbench model of subnets"):
            content = parse_json(text)
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise InputError("not a hwbench model of subnets")
            if content["schema"] != SCHEMA:
                raise InputError(
                    f"schema {content['schema']!r}; this version of hwbench reads schema {SCHEMA}: fit the model again"
                )
            check_seal(content)
            return cls._from_content(content)

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Self:
        family = get_family(family_name(content))
        genotypes = encode(family, [Arch.parse(row["arch"]) for row in content["rows"]])
        measured, unseen = (
            np.array([row[name] for row in content["rows"]], dtype=float)
            for name in ("measured_ms", "unseen_ms")
        )
        if not len(measured):
            raise InputError("the model holds no rows")
        settings = content["settings"]
        predictor = AutoPredictor(settings["models"], settings["seed"])
        column, about = str(content["column"]), dict(content["about"])
        if content["method"] != METHOD:
            model = cls.fit(family, column, genotypes, measured, predictor)
            return cls(family, column, genotypes, measured, model.predictor, {**about, "chosen_anew": True})
        predictor.candidates = dict(content["candidates"])
        rows, searched = subnet_rows(family, genotypes), content.get("searched")
        predictor.refit(rows, measured, content["weights"], unseen, searched)
        return cls(family, column, genotypes, measured, predictor, about)


def library_versions() -> dict[str, str]:
    """Of whatever the numbers may depend on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def merge_repeats(genotypes: Genotypes, latency_ms: Floats) -> tuple[Genotypes, Floats, float | None]:
    """Subnets measured more than once become one, with their median latency, in order of first appearance.

    Otherwise cross-validation would meet in one fold what it was fitted on in another.

    Returns:
        Genotypes, latencies, and by how much the repeats differ from their median, as MAPE in percent; None if
        there are none.
    """
    _, first, group = np.unique(genotypes, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(genotypes):
        return genotypes, latency_ms, None
    group = group.reshape(-1)
    count, median = np.bincount(group), latency_ms[first]
    for repeat in np.flatnonzero(count > 1):
        median[repeat] = np.median(latency_ms[group == repeat])
    repeated = count[group] > 1
    spread = mape_pct(median[group][repeated], latency_ms[repeated])
    order = np.sort(first)
    return genotypes[order], median[group[order]], spread
