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
from compofa.errors import InputError
from compofa.files import check_seal, parse_json, read_bounded, sealed, write_atomically
from compofa.network import arch_blocks
from compofa.spaces.arch import Arch, check_arch
from lut import laws, model
from lut.formats import read_table
from lut.model import Floats, LatencyModel
from lut.scores import mape_pct, reference_noise_pct, scores
from lut.table import Table

FORMAT = "hwbench-calibration"
SCHEMA = 1
MIN_NETWORKS = 10
"""Fewer say little about the terms, and less about the error."""
LEAST_SPEARMAN = 0.7
MOST_REPEATABILITY_PCT = 10.0
"""A calibration whose networks are ranked worse than that by the table, or that do not repeat themselves better, says
more about the hour in which it was measured than about the networks."""


@dataclass(frozen=True)
class Calibration:
    """End-to-end latencies of subnets, measured twice on the target of a table.

    Args:
        table: the table they calibrate.
        archs: the subnets, distinct, in random order.
        first_ms, second_ms: shape (subnets,), two measurements of each, separated in time; `second_ms` is empty where
            each was measured once, elsewhere.
        terms: of the model, which tell its law (:mod:`lut.laws`); chosen by cross-validation if not given.

    Raises:
        ValueError: too few subnets, or a latency is no positive number.
    """

    table: Table
    archs: tuple[Arch, ...]
    first_ms: tuple[float, ...]
    second_ms: tuple[float, ...] = ()
    terms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.archs) < MIN_NETWORKS:
            raise InputError(f"a calibration needs {MIN_NETWORKS} subnets or more, not {len(self.archs)}")
        for time in (*self.first_ms, *self.second_ms):
            if type(time) not in (int, float) or not (math.isfinite(time) and time > 0):
                raise InputError(f"a latency must be a positive number of milliseconds, not {time}")
        if not self.terms:
            object.__setattr__(self, "terms", laws.choose(self._values, self.measured_ms))

    @property
    def measured_ms(self) -> Floats:
        """The best estimate of each latency, the mean of the measurements; shape (subnets,)."""
        return np.mean([self.first_ms, *([self.second_ms] if self.second_ms else [])], axis=0)

    @property
    def repeatability_pct(self) -> float | None:
        """Mean absolute difference of the second measurement from the first; None without a second."""
        if not self.second_ms:
            return None
        return mape_pct(np.array(self.first_ms), np.array(self.second_ms))

    @property
    def drift_pct(self) -> float | None:
        """By how much the second measurement of all networks together lies above the first (below: negative), the
        median; None without a second. A machine's memory has slow hours and quick ones, which a reference that fits
        the core's own cache does not see."""
        if not self.second_ms:
            return None
        return float(100 * np.median(np.array(self.second_ms) / np.array(self.first_ms)) - 100)

    @property
    def noise_pct(self) -> float | None:
        """What true latencies would score (:func:`lut.scores.reference_noise_pct`), the drift apart: a factor that all
        networks share is the calibration's, and no error of a model. None without a second measurement."""
        if (drift_pct := self.drift_pct) is None:
            return None
        return reference_noise_pct(np.array(self.first_ms), np.array(self.second_ms) / (1 + drift_pct / 100))

    @cached_property
    def distrust(self) -> str | None:
        """Why the calibration is not to be used, in a line with advice; None if it may be."""
        ranked = scores(self.measured_ms, self.raw_ms)["spearman"]
        if ranked is None or ranked < LEAST_SPEARMAN:
            shown = "is not defined" if ranked is None else f"is {ranked:.2f}"
            return (
                f"the rank correlation of the table's sums with the measured networks {shown}, below {LEAST_SPEARMAN}: "
                "the table or the networks were measured badly, or their latencies hardly differ; measure both again"
            )
        if (repeats := self.repeatability_pct) is not None and repeats > MOST_REPEATABILITY_PCT:
            return (
                f"two measurements of the same network differ by {repeats:.0f} %, more than {MOST_REPEATABILITY_PCT:g}"
                " %: the machine was too busy; validate again (hwbench doctor says what disturbs)"
            )
        return None

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
        return laws.leave_one_out(self._values, self.measured_ms)

    def error_bound_pct(self, coverage: float = 0.95) -> float:
        """Within how many per cent of the model's answer the latency of a network lies, that share of the time: the
        conformal quantile of the leave-one-out errors (Vovk et al., Algorithmic Learning in a Random World), the
        largest where there are too few networks for it."""
        answers = np.maximum(self.held_out_ms, 1e-9 * self.measured_ms)  # below zero it is none
        errors = np.sort(np.abs(self.measured_ms / answers - 1))
        rank = min(math.ceil((len(errors) + 1) * coverage), len(errors))
        return float(100 * errors[rank - 1])

    @cached_property
    def model(self) -> LatencyModel:
        """The model fitted on all of the subnets."""
        return laws.fitted(self.table, self._values, self.measured_ms, self.terms)

    def save(self, path: Path) -> None:
        """Write the calibration to `path` at once: a reader sees the old file or the new one.

        Raises:
            OSError: it cannot be written.
        """
        content = {
            "format": FORMAT,
            "schema": SCHEMA,
            "table": self.table.header.digest,
            "target": self.table.target.to_dict(),
            "settings": {"terms": list(self.terms)},
            "rows": self._rows(),
        }
        write_atomically(path, json.dumps(sealed(content), indent=1, allow_nan=False) + "\n")

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [
            {"arch": str(arch), "first_ms": ms} for arch, ms in zip(self.archs, self.first_ms, strict=True)
        ]
        for row, ms in zip(rows, self.second_ms, strict=bool(self.second_ms)):
            row["second_ms"] = ms
        return rows

    @classmethod
    def load(cls, path: Path, table: Table) -> Calibration:
        """The calibration of `table` at `path`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no calibration, or one of another table.
        """
        try:
            content = parse_json(read_bounded(path))
            _check_head(content, table)
            found = _from_rows(table, content["rows"], tuple(content["settings"]["terms"]))
            check_seal(content)
            return found
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{path}: broken calibration: {type(error).__name__} {error}") from error
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
    if wrong := laws.check(terms):
        raise InputError(wrong)
    archs = tuple(Arch.parse(row["arch"]) for row in rows)
    for arch in archs:
        check_arch(table.family, arch)
    first = tuple(row["first_ms"] for row in rows)
    twice = bool(rows) and "second_ms" in rows[0]
    second = tuple(row["second_ms"] for row in rows) if twice else ()
    return Calibration(table, archs, first, second, terms)


def calibration_path(table_path: Path) -> Path:
    """Where the calibration of the table at `table_path` is kept."""
    return table_path.with_name(table_path.name.removesuffix(".jsonl") + ".calibration.json")


def load_model(table_path: Path, force: bool = False) -> LatencyModel:
    """The model of the table at `table_path`: calibrated if a calibration that is to be trusted lies beside it, else
    its sums, with the reason as the model's caution. A table in another format than our own is read by
    :func:`lut.formats.read_table`.

    Args:
        table_path: the table.
        force: use a calibration that is not to be trusted, too.

    Raises:
        OSError: a file cannot be read.
        ValueError: the table or the calibration is broken, or they do not belong together.
    """
    table = read_table(table_path)
    beside = calibration_path(table_path)
    if not beside.exists():
        return LatencyModel(table)
    calibration = Calibration.load(beside, table)
    if (distrust := calibration.distrust) and not force:
        return LatencyModel(table, caution=f"{beside} is not used: {distrust}")
    return calibration.model
