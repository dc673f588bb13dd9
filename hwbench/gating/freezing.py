"""Making a golden set: a finished table and its validation, split in halves and frozen."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backends import registry
from backends.base import Measurement, Target
from compofa.errors import InputError
from compofa.spaces.arch import Arch
from hwbench.gating import golden, noise
from hwbench.gating.golden import Entry, Figures, building_key
from hwbench.gating.statistics import SCORES
from lut import store
from lut.calibration import Calibration, calibration_path
from lut.model import Floats
from lut.table import Table

DIGITS = 6
"""Significant ones that are kept of a latency: a millionth, far below any clock's noise."""


def split(archs: Sequence[Arch], seed: int) -> tuple[list[int], list[int]]:
    """Indices of a training and a test half, each ascending: at random, in equal parts of every resolution
    as far as subnets with equal :func:`building_key` stay together."""
    groups: dict[Hashable, list[int]] = {}
    for i, arch in enumerate(archs):
        groups.setdefault(building_key(arch), []).append(i)
    halves: tuple[list[int], list[int]] = ([], [])
    sizes: Counter[tuple[int, int]] = Counter()
    together = list(groups.values())
    for g in np.random.default_rng(seed).permutation(len(together)).tolist():
        resolution = archs[together[g][0]].resolution
        half = int(sizes[resolution, 0] > sizes[resolution, 1])
        halves[half].extend(together[g])
        sizes.update((archs[i].resolution, half) for i in together[g])
    return sorted(halves[0]), sorted(halves[1])


def freeze(folder: Path, table_path: Path, name: str, seed: int) -> Entry:
    """Make a set of the table at `table_path` and of the calibration that ``validate`` left beside it.

    The rounds of each measurement are left out, and what is left is rounded to :data:`DIGITS` digits.

    Args:
        folder: of the golden sets; made if need be.
        table_path: a finished table.
        name: of the new set.
        seed: of the split.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: there is a set of this name already, or the measurements cannot make one.
    """
    golden.check_name(name)
    sets = golden.read_manifest(folder) if (folder / golden.MANIFEST).exists() else {}
    files = [folder / file for file in golden.file_names(name)]
    if taken := [str(path) for path in files if path.exists()]:
        raise InputError(f"{taken[0]} is there already: delete set {name} first, or choose another --name")
    measured = Table.load(table_path)
    calibration = Calibration.load(calibration_path(table_path), measured)
    golden.check_repeated(table_path, calibration)
    calibration = _rounded(calibration)
    halves = [_part(calibration, half) for half in split(calibration.archs, seed)]
    golden.check_halves(*halves)

    folder.mkdir(parents=True, exist_ok=True)
    with store.Writer(files[0], measured.header) as writer:
        writer.append((block, _slim(m)) for block, m in measured.entries.items())
    for half, path in zip(halves, files[1:], strict=True):
        half.save(path)
    training, test = halves
    predicted = np.array([training.model.latency_ms(network) for network in test.networks])
    hashes = {path.name: golden.sha256(path) for path in files}
    margins = {key: round(margin, 3) for key, margin in noise.margins(training, test, seed).items()}
    limits = default_limits(test.measured_ms, predicted)
    entry = Entry(name, hashes, limits, Figures(**margins), _about(calibration, seed))
    golden.write_manifest(folder, {**sets, name: entry})
    return entry


def _part(calibration: Calibration, indices: Sequence[int]) -> Calibration:
    if len(indices) < golden.MIN_SUBNETS:
        raise InputError(
            f"{len(calibration.archs)} subnets are too few for a golden set: each half needs {golden.MIN_SUBNETS}; "
            f"run validate --subnets {2 * golden.MIN_SUBNETS} or more"
        )
    archs, first, second = (
        tuple(values[i] for i in indices)
        for values in (calibration.archs, calibration.first_ms, calibration.second_ms)
    )
    return Calibration(calibration.table, archs, first, second)  # type: ignore[arg-type]


def _rounded(calibration: Calibration) -> Calibration:
    first, second = (tuple(map(_short, times)) for times in (calibration.first_ms, calibration.second_ms))
    return replace(calibration, first_ms=first, second_ms=second)


def _slim(m: Measurement) -> Measurement:
    latency, low, high = (_short(ms) for ms in (m.latency_ms, m.low_ms, m.high_ms))
    return replace(m, latency_ms=latency, low_ms=low, high_ms=high, rounds_ms=())


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def default_limits(measured_ms: Floats, predicted_ms: Floats) -> Figures:
    """A floor that the calibrated table, which made these predictions, does not break: a tenth more error, a
    point more bias, two points fewer within 10 %, a hundredth less rank correlation. It may be edited before
    a baseline is made."""
    found = {key: float(score.of(measured_ms, predicted_ms)) for key, score in SCORES.items()}
    return Figures(
        mape_pct=min(round(1.1 * found["mape_pct"], 2), 100.0),
        bias_pct=min(round(found["bias_pct"] + 1, 2), 100.0),
        within_10_pct=max(round(found["within_10_pct"] - 2, 1), 0.0),
        spearman=max(round(found["spearman"] - 0.01, 3), -1.0),
    )


def _about(calibration: Calibration, seed: int) -> dict[str, Any]:
    table = calibration.table
    header, target = table.header, table.target
    resolutions = ",".join(map(str, header.resolutions))
    return {
        "target": target.to_dict(),
        "origin": table.origin,
        "family": header.family,
        "created": header.created,
        "host": header.host,
        "subnets": len(calibration.archs),
        "repeatability_pct": round(golden.repeatability_pct(calibration), 3),
        "split": f"halves at random within each resolution, subnets of equal blocks on one side; seed {seed}",
        "measured_with": [
            f"hwbench build_lut --backend {target.backend} --family {header.family} --space {header.space} "
            f"--resolutions {resolutions} --precision {target.precision} --batch {target.batch} "
            f"--threads {max(target.threads, 1)}{_options(target)}",
            f"hwbench validate --subnets {len(calibration.archs)}",
        ],
    }


def _options(target: Target) -> str:
    """The backend's own options, as arguments; none if the backend is not there, as for a published table."""
    with contextlib.suppress(ValueError, ImportError):
        options = registry.load(target.backend).options_of(target)
        return "".join(f" --{name.replace('_', '-')} {value}" for name, value in options.items())
    return ""
