"""The baseline: what the models said when someone last looked and agreed, kept as text that can be diffed."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backends.machine.host import package_versions
from compofa.errors import InputError
from compofa.files import check_seal, parse_json, read_bounded, reading, sealed, write_atomically
from hwbench.gating.models import Answers
from lut.model import Floats
from lut.predictors.base import PLAUSIBLE_MS

FORMAT = "hwbench-baseline"
SCHEMA = 1
DIGITS = 8
PACKAGES = ("hwbench", "numpy", "scipy", "scikit-learn")
"""Whose versions may change a prediction."""


@dataclass(frozen=True)
class Frozen:
    """What the models said of one golden set.

    Args:
        digest: of the set's entry in the manifest: which data they were fitted and asked on.
        coverage: share of the space's blocks that had an entry, 0 to 1.
        predicted_ms: by model, of the subnets that the set asks about in their order, shape (asked,).
    """

    digest: str
    coverage: float
    predicted_ms: dict[str, Floats]


@dataclass(frozen=True)
class Baseline:
    """Args:
    sets: by name.
    environment: package -> version, of the run that made it.
    """

    sets: dict[str, Frozen]
    environment: dict[str, str]

    def save(self, path: Path) -> None:
        """Write the baseline to `path` at once.

        Raises:
            OSError: it cannot be written.
        """
        content = {
            "format": FORMAT,
            "schema": SCHEMA,
            "environment": self.environment,
            "sets": {
                name: {
                    "data": frozen.digest,
                    "coverage": frozen.coverage,
                    "predicted_ms": {
                        model: [float(f"{ms:.{DIGITS}g}") for ms in values.tolist()]
                        for model, values in frozen.predicted_ms.items()
                    },
                }
                for name, frozen in sorted(self.sets.items())
            },
        }
        write_atomically(path, json.dumps(sealed(content), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """The baseline at `path`.

        Raises:
            OSError: it cannot be read.
            ValueError: it is none.
        """
        content = read_bounded(path)
        with reading(path, "a baseline of hwbench check"):
            return cls._parse(parse_json(content))

    @classmethod
    def _parse(cls, content: Any) -> Baseline:
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError("not a baseline of hwbench check")
        if content["schema"] != SCHEMA:
            raise InputError(f"schema {content['schema']!r}; this version of hwbench reads schema {SCHEMA}")
        check_seal(content)
        sets = {name: _parse(fields) for name, fields in content["sets"].items()}
        return cls(sets, {str(name): str(version) for name, version in content["environment"].items()})


def _parse(fields: dict[str, Any]) -> Frozen:
    predicted = {model: _latencies(model, values) for model, values in fields["predicted_ms"].items()}
    if not predicted:
        raise InputError("a set has no predictions")
    coverage = fields["coverage"]
    if isinstance(coverage, bool) or not isinstance(coverage, (int, float)) or not 0 <= coverage <= 1:
        raise InputError(f"a coverage is a share from 0 to 1, not {coverage!r}")
    return Frozen(str(fields["data"]), float(coverage), predicted)


def _latencies(model: str, values: Any) -> Floats:
    least, most = PLAUSIBLE_MS
    numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    if not numbers or not values or not all(least <= value <= most for value in values):
        raise InputError(
            f"predictions of {model} are no list of latencies in milliseconds ({least:g} to {most:g})"
        )
    return np.array(values, dtype=float)


def freeze(digest: str, coverage: float, answers: dict[str, Answers]) -> Frozen:
    """What the models say now, to be kept.

    Raises:
        ValueError: a model has no answer for some subnet: such a state is no baseline.
    """
    for model, answer in answers.items():
        if answer.trouble:
            raise InputError(f"model {model} cannot be a baseline: {answer.trouble}")
    return Frozen(digest, coverage, {model: answer.predicted_ms for model, answer in answers.items()})


def environment() -> dict[str, str]:
    """Versions that may change a prediction."""
    return {"python": platform.python_version(), **dict(package_versions(PACKAGES))}
