"""Calibrations: end-to-end latencies measured beside a table, and the model fitted on them.

A calibration is kept as what was measured and refitted when it is read, so it outlives any version of any
library, and anyone can read it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from backends.base import Network
from compofa.arch import Arch, arch_blocks, check_arch
from compofa.errors import InputError
from compofa.files import write_atomically
from lut import model
from lut.formats import read_table
from lut.model import Floats, LatencyModel
from lut.table import Table

FORMAT = "hwbench-calibration"
SCHEMA = 1
MIN_NETWORKS = 10
"""Fewer say little about the terms, and less about the error."""


@dataclass(frozen=True)
class Calibration:
    """End-to-end latencies of subnets, measured twice on the target of a table.

    Args:
        table: the table they calibrate.
        archs: the subnets, distinct, in random order.
        first_ms, second_ms: shape (subnets,), two measurements of each, separated in time.
        terms: of the model, from :data:`lut.model.TERMS`; chosen by cross-validation if not given.

    Raises:
        ValueError: too few subnets, or a latency is no positive number.
    """

    table: Table
    archs: tuple[Arch, ...]
    first_ms: tuple[float, ...]
    second_ms: tuple[float, ...]
    terms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.archs) < MIN_NETWORKS:
            raise InputError(f"a calibration needs {MIN_NETWORKS} subnets or more, not {len(self.archs)}")
        for time in (*self.first_ms, *self.second_ms):
            if type(time) not in (int, float) or not (math.isfinite(time) and time > 0):
                raise InputError(f"a latency must be a positive number of milliseconds, not {time}")
        if not self.terms:
            object.__setattr__(self, "terms", model.choose_terms(self._values, self.measured_ms))

    @property
    def measured_ms(self) -> Floats:
        """The best estimate of each latency, the mean of the two measurements; shape (subnets,)."""
        return (np.array(self.first_ms) + np.array(self.second_ms)) / 2

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """The subnets as blocks."""
        return tuple(arch_blocks(self.table.family, arch) for arch in self.archs)

    @cached_property
    def _values(self) -> Floats:
        return model.features(self.table, self.networks)

    @property
    def raw_ms(self) -> Floats:
        """The table's plain sums, shape (subnets,)."""
        return self._values[:, model.SCALE]

    @cached_property
    def held_out_ms(self) -> Floats:
        """What the calibrated model predicts for each subnet when fitted without it, shape (subnets,)."""
        return model.leave_one_out(self._values, self.measured_ms)

    @cached_property
    def model(self) -> LatencyModel:
        """The model fitted on all of the subnets."""
        weights = model.fit(self._values, self.measured_ms, self.terms)
        return LatencyModel(self.table, {t: float(w) for t, w in zip(model.TERMS, weights, strict=True) if w})

    def save(self, path: Path) -> None:
        """Write the calibration to `path` at once: a reader sees the old file or the new one.

        Raises:
            OSError: it cannot be written.
        """
        rows = zip(map(str, self.archs), self.first_ms, self.second_ms, strict=True)
        content = {
            "format": FORMAT,
            "schema": SCHEMA,
            "table": self.table.header.digest,
            "target": self.table.target.to_dict(),
            "settings": {"terms": list(self.terms)},
            "rows": [{"arch": a, "first_ms": one, "second_ms": two} for a, one, two in rows],
        }
        write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path, table: Table) -> Calibration:
        """The calibration of `table` at `path`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no calibration, or one of another table.
        """
        try:
            content = json.loads(path.read_bytes())
            _check_head(content, table)
            return _from_rows(table, content["rows"], tuple(content["settings"]["terms"]))
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{path}: broken calibration: {type(error).__name__} {error}") from error
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: not a hwbench calibration: no JSON") from error
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error


def _check_head(content: dict[str, Any], table: Table) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError("not a hwbench calibration")
    if content["schema"] != SCHEMA:
        raise InputError(f"schema {content['schema']!r}; this version of hwbench reads schema {SCHEMA}")
    if content["table"] != table.header.digest or content["target"] != table.target.to_dict():
        raise InputError("the calibration belongs to another table; run validate again on this one")


def _from_rows(table: Table, rows: list[dict[str, Any]], terms: tuple[str, ...]) -> Calibration:
    if unknown := set(terms) - set(model.TERMS):
        raise InputError(f"unknown terms {sorted(unknown)}; there are {', '.join(model.TERMS)}")
    archs = tuple(Arch.parse(row["arch"]) for row in rows)
    for arch in archs:
        check_arch(table.family, arch)
    first, second = (tuple(row[name] for row in rows) for name in ("first_ms", "second_ms"))
    return Calibration(table, archs, first, second, terms)


def calibration_path(table_path: Path) -> Path:
    """Where the calibration of the table at `table_path` is kept."""
    return table_path.with_name(table_path.name.removesuffix(".jsonl") + ".calibration.json")


def load_model(table_path: Path) -> LatencyModel:
    """The model of the table at `table_path`: calibrated if a calibration lies beside it, else its sums. A table in
    another format than our own is read by :func:`lut.formats.read_table`.

    Raises:
        OSError: a file cannot be read.
        ValueError: the table or the calibration is broken, or they do not belong together.
    """
    table = read_table(table_path)
    beside = calibration_path(table_path)
    return Calibration.load(beside, table).model if beside.exists() else LatencyModel(table)
