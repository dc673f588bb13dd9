"""Tables of devices that there are not, made from the shipped one of glyphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from compofa.blocks import Block
from hwbench import shipped
from lut import store
from lut.calibration import Calibration, calibration_path
from lut.table import Table

NASTY = "<img src=x onerror=alert(1)> $x^2$ </script>"
"""The name of a device, which is to be shown as it is."""


def make_table(
    path: Path,
    device: str,
    factor: Callable[[Block], float],
    of: Sequence[str] = ("latency_ms", "low_ms", "high_ms"),
) -> Table:
    """Write a table of `device` to `path`, on which each block takes `factor` times as long as in the shipped one."""
    table = Table.load(shipped.reference_table("glyphs"))
    header = replace(table.header, target=replace(table.target, device=device))
    entries = {
        block: replace(found, **{name: getattr(found, name) * factor(block) for name in of})
        for block, found in table.entries.items()
    }
    with store.Writer(path, header) as writer:
        writer.append(entries.items())
    return Table.load(path)


def calibrate(path: Path, networks: int = 16, noise: float = 0.01) -> None:
    """Write a calibration beside the table at `path`: networks that take a little more than the sum of their blocks,
    each of two measurements off by `noise`."""
    table, rng = Table.load(path), np.random.default_rng(0)
    shipped_table = shipped.reference_table("glyphs")
    archs = Calibration.load(calibration_path(shipped_table), Table.load(shipped_table)).archs[:networks]
    true_ms = 1.03 * Calibration(table, archs, (1.0,) * networks).raw_ms
    first, second = (tuple((true_ms * rng.normal(1, noise, networks)).tolist()) for _ in range(2))
    Calibration(table, archs, first, second).save(calibration_path(path))
