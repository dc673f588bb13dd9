"""Is the frozen model still right on its device? Fresh measurements of whole networks against golden ones.

Fresh measurements carry the noise of another day. A shared machine is some percent slower for minutes on end,
and that tells nothing of the model: so a common factor is taken out first, and held to a loose limit of its
own. What is left, the error of the model's proportions, may exceed that of the golden test half by a margin and
by what the fresh measurements' own repeatability explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compofa.errors import InputError
from compofa.spaces.layout import encode
from hwbench.gating import golden as golden_sets
from hwbench.gating.findings import FAIL, PASS, SKIP, Finding
from hwbench.gating.golden import GoldenSet, building_key, check_repeated
from hwbench.gating.statistics import LEVEL, draw
from lut.calibration import Calibration
from lut.model import Floats

MARGIN_PCT = 1.0
"""Of the error of proportions, that is put up with."""
FACTOR_LIMIT = 0.10
"""Of a common factor, either way: what a clock, a neighbour or a patch release does to a machine."""
NOISE_LIMIT_PCT = 10.0
"""Measurements that repeat no better than this say nothing."""


@dataclass(frozen=True)
class Sample:
    """Subnets of which each was measured twice and predicted once; all of shape (..., n)."""

    first_ms: Floats
    second_ms: Floats
    predicted_ms: Floats

    def __getitem__(self, index: np.ndarray) -> Sample:
        return Sample(self.first_ms[index], self.second_ms[index], self.predicted_ms[index])

    @property
    def factor(self) -> Floats:
        """By which the device is slower than the model, shape (...)."""
        return np.median((self.first_ms + self.second_ms) / 2 / self.predicted_ms, axis=-1)

    @property
    def error_pct(self) -> Floats:
        """MAPE of the predictions times :attr:`factor`, shape (...)."""
        ratio = self.predicted_ms * self.factor[..., None] / ((self.first_ms + self.second_ms) / 2)
        return 100 * np.abs(ratio - 1).mean(axis=-1)

    @property
    def drift(self) -> Floats:
        """Second measurements over first ones, in the middle, shape (...)."""
        return np.median(self.second_ms / self.first_ms, axis=-1)

    @property
    def noise_pct(self) -> Floats:
        """Mean difference of the two measurements but for :attr:`drift`, shape (...)."""
        ratio = self.second_ms / self.first_ms / self.drift[..., None]
        return 100 * np.abs(ratio - 1).mean(axis=-1)


def findings(path: Path, sets: list[GoldenSet]) -> list[Finding]:
    """What the measurements at `path` say of the set that they are of, or why they say nothing."""
    try:
        return check(*find_set(path, sets))
    except OSError as error:
        reason = f"{path}: {error.strerror}"
    except InputError as error:
        reason = str(error)
    return [Finding("data", "measured", "file", "unusable", "of a golden set", FAIL, reason)]


def find_set(path: Path, sets: list[GoldenSet]) -> tuple[GoldenSet, Calibration]:
    """The set that the calibration at `path` belongs to, and the calibration.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none, or belongs to no set.
    """
    trouble = ""
    for golden in sets:
        try:
            found = Calibration.load(path, golden.table)
        except InputError as error:
            trouble = str(error)
        else:
            check_repeated(path, found)
            return golden, found
    if "another table" in trouble:
        trouble = (
            f"{path} belongs to no golden set: copy a set's table, and run validate --lut COPY on the device"
        )
    raise InputError(trouble)


def check(golden: GoldenSet, fresh: Calibration) -> list[Finding]:
    """What the measurements `fresh` say of the calibrated table of `golden`.

    Raises:
        ValueError: too few of them are of subnets that the model was not fitted on.
    """
    seen = {building_key(arch) for arch in golden.training.archs}
    new = np.array([building_key(arch) not in seen for arch in fresh.archs])
    if new.sum() < golden_sets.MIN_SUBNETS:
        raise InputError(
            f"only {new.sum()} of the {len(new)} fresh subnets are not among those the model is fitted on, "
            f"{golden_sets.MIN_SUBNETS} are needed: run validate with another --seed or more --subnets"
        )
    then, now = _sample(golden, golden.test), _sample(golden, fresh)[new]
    if now.noise_pct > NOISE_LIMIT_PCT:
        return [_too_noisy(golden, float(now.noise_pct))]
    return [_proportions(golden, then, now), _factor(golden, now)]


def _sample(golden: GoldenSet, measured: Calibration) -> Sample:
    predicted = golden.training.model.predict(encode(golden.table.family, measured.archs))
    return Sample(np.array(measured.first_ms), np.array(measured.second_ms), predicted)


def _too_noisy(golden: GoldenSet, noise_pct: float) -> Finding:
    return Finding(
        "device",
        golden.name,
        "noise",
        f"repeatable to {noise_pct:.1f} %",
        f"{NOISE_LIMIT_PCT:g} %",
        SKIP,
        "the machine was too noisy to say anything: measure again when it is quiet (see hwbench doctor)",
        {"noise_pct": noise_pct, "limit": NOISE_LIMIT_PCT},
    )


def _proportions(golden: GoldenSet, then: Sample, now: Sample) -> Finding:
    old, new = (sample[draw(len(sample.first_ms), seed)] for seed, sample in enumerate((then, now)))
    excess = new.error_pct - old.error_pct - np.maximum(0, new.noise_pct - old.noise_pct) / 2 - MARGIN_PCT
    # Half: the error is that of the mean of two measurements, whose noise is half of their difference.
    allowed = float(then.error_pct + np.maximum(0, now.noise_pct - then.noise_pct) / 2 + MARGIN_PCT)
    p = (1 + int((excess <= 0).sum())) / (1 + len(excess))
    failed = p < LEVEL
    return Finding(
        "device",
        golden.name,
        "proportions",
        f"MAPE {now.error_pct:.2f} %, noise {now.noise_pct:.1f} %",
        f"{allowed:.2f} %, chance aside",
        FAIL if failed else PASS,
        f"the model's proportions no longer hold on this device (MAPE {now.error_pct:.2f} %, was "
        f"{then.error_pct:.2f} %): measure the table anew and freeze it"
        if failed
        else "",
        {
            "error_pct": float(now.error_pct),
            "golden_error_pct": float(then.error_pct),
            "noise_pct": float(now.noise_pct),
            "golden_noise_pct": float(then.noise_pct),
            "limit": allowed,
            "p": p,
        },
    )


def _factor(golden: GoldenSet, now: Sample) -> Finding:
    limit = FACTOR_LIMIT + abs(float(now.drift) - 1)
    failed = abs(float(now.factor) - 1) > limit
    return Finding(
        "device",
        golden.name,
        "common factor",
        f"x {now.factor:.3f}",
        f"1 +- {limit:.2f}",
        FAIL if failed else PASS,
        f"the device takes {now.factor:.2f} x the predicted time: another clock, governor or runtime? If that is "
        "to stay, measure the table anew and freeze it"
        if failed
        else "",
        {"factor": float(now.factor), "drift": float(now.drift), "limit": limit},
    )
