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
from compofa.files import write_atomically
from hwbench.gating.models import Answers
from lut.model import Floats

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
        write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """The baseline at `path`.

        Raises:
            OSError: it cannot be read.
            ValueError: it is none.
        """
        try:
            content = json.loads(path.read_bytes())
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise InputError("not a baseline of hwbench check")
            if content["schema"] != SCHEMA:
                raise InputError(
                    f"schema {content['schema']!r}; this version of hwbench reads schema {SCHEMA}"
                )
            sets = {name: _parse(fields) for name, fields in content["sets"].items()}
            return cls(sets, dict(content["environment"]))
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{path}: broken baseline: {type(error).__name__} {error}") from error
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: not a baseline of hwbench check: no JSON") from error
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error


def _parse(fields: dict[str, Any]) -> Frozen:
    predicted = {model: np.array(values, dtype=float) for model, values in fields["predicted_ms"].items()}
    for model, values in predicted.items():
        if values.ndim != 1 or not (np.isfinite(values) & (values > 0)).all():
            raise InputError(f"predictions of {model} are no list of positive numbers")
    return Frozen(str(fields["data"]), float(fields["coverage"]), predicted)


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
