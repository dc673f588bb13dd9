"""Fresh measurements: red when the device is another, green when it was merely noisy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compofa.errors import InputError
from compofa.network import arch_blocks
from hwbench.gating import device
from hwbench.gating.findings import FAIL, PASS, SKIP, Finding
from hwbench.gating.golden import GoldenSet
from lut.calibration import Calibration


def fresh(
    golden: GoldenSet, seed: int, noise: float, factor: float = 1.0, drift: float = 1.0, at=()
) -> Calibration:
    """50 new subnets that take what the model predicts times `factor`, give or take; `at` a resolution a
    quarter more."""
    rng = np.random.default_rng(seed)
    archs = tuple(golden.space.sample(rng, side) for side in 25 * golden.table.header.resolutions)
    model = golden.training.model
    truth = np.array([model.latency_ms(arch_blocks(golden.table.family, arch)) for arch in archs])
    truth *= factor * np.where([arch.resolution in at for arch in archs], 1.25, 1.0) * rng.normal(1, 0.02, 50)
    first, second = (tuple((truth * rng.normal(slow, noise, 50)).tolist()) for slow in (1, drift))
    return Calibration(golden.table, archs, first, second, ("scale",))


def red(findings: list[Finding]) -> set[str]:
    return {finding.what for finding in findings if finding.verdict == FAIL}


def test_a_noisy_machine_stays_green(golden: GoldenSet) -> None:
    """Noise of 3 to 6 %, slower by up to 8 %, slower still in the second pass."""
    rng = np.random.default_rng(0)
    reds = [
        red(
            device.check(
                golden,
                fresh(golden, seed, rng.uniform(0.03, 0.06), rng.uniform(0.95, 1.08), rng.uniform(1, 1.05)),
            )
        )
        for seed in range(20)
    ]
    assert not any(reds)


def test_another_device_is_red(golden: GoldenSet) -> None:
    findings = device.check(golden, fresh(golden, 1, 0.02, factor=1.25))
    assert red(findings) == {"common factor"}
    assert "the device takes 1.2" in next(f for f in findings if f.verdict == FAIL).advice


def test_other_proportions_are_red(golden: GoldenSet) -> None:
    caught = [
        "proportions" in red(device.check(golden, fresh(golden, seed, 0.02, at=(176,)))) for seed in range(10)
    ]
    assert all(caught)


def test_too_much_noise_says_nothing(golden: GoldenSet) -> None:
    (finding,) = device.check(golden, fresh(golden, 2, 0.15))
    assert finding.verdict == SKIP
    assert "too noisy to say anything" in finding.advice


def test_subnets_that_the_model_was_fitted_on_do_not_count(golden: GoldenSet) -> None:
    measured = fresh(golden, 3, 0.01)
    seen = replace(measured, archs=(*golden.training.archs[:30], *measured.archs[:20]))
    assert {f.verdict for f in device.check(golden, seen)} <= {PASS, FAIL}
    with pytest.raises(ValueError, match="only 19 of the 50 fresh subnets"):
        device.check(golden, replace(seen, archs=(*seen.archs[:-1], golden.training.archs[0])))


def test_measurements_of_another_table_are_refused(golden: GoldenSet, tmp_path: Path) -> None:
    measured = fresh(golden, 4, 0.01)
    path = tmp_path / "c.json"
    measured.save(path)
    assert device.find_set(path, [golden])[0] is golden
    other = replace(golden.table, header=replace(golden.table.header, created="another day"))
    replace(measured, table=other).save(path)
    with pytest.raises(ValueError, match="belongs to no golden set"):
        device.find_set(path, [golden])
    replace(measured, second_ms=()).save(path)
    with pytest.raises(InputError, match="measured once each"):
        device.find_set(path, [golden])
    path.write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        device.find_set(path, [golden])
