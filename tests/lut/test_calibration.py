"""A calibration is kept as what was measured, beside the table it belongs to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compofa.network import arch_blocks
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut import store
from lut.calibration import Calibration, calibration_path, load_model
from lut.table import Table


def measured(table: Table, count: int = 30, seed: int = 0) -> Calibration:
    """`count` subnets that take 1.25 x the table's sum plus 0.1 ms, give or take 1 %."""
    rng, space = np.random.default_rng(seed), get_space("ofa", GLYPHS)
    archs = tuple(dict.fromkeys(space.sample(rng) for _ in range(count)))
    truth = np.array([1.25 * table.latency_ms(arch_blocks(GLYPHS, arch)) + 0.1 for arch in archs])
    first, second = (tuple((truth * rng.normal(1, 0.01, len(truth))).tolist()) for _ in range(2))
    return Calibration(table, archs, first, second)


def test_the_calibrated_model_predicts_what_it_has_not_seen(table: Table) -> None:
    calibration = measured(table)
    error = np.abs(calibration.held_out_ms / calibration.measured_ms - 1)
    assert error.mean() < 0.015
    assert np.abs(calibration.raw_ms / calibration.measured_ms - 1).mean() > 0.2
    genotypes = encode(GLYPHS, calibration.archs)
    np.testing.assert_allclose(calibration.model.predict(genotypes), calibration.measured_ms, rtol=0.05)


def test_what_is_saved_is_loaded_and_refitted_alike(table: Table, tmp_path: Path) -> None:
    calibration = measured(table)
    path = tmp_path / "c.json"
    calibration.save(path)
    loaded = Calibration.load(path, table)
    assert loaded == calibration
    assert loaded.model == calibration.model
    assert list(tmp_path.iterdir()) == [path]


def test_a_calibration_of_another_table_is_refused(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    measured(table).save(path)
    for header in (
        replace(table.header, created="2027"),
        replace(table.header, target=replace(table.target, threads=4)),
    ):
        with pytest.raises(ValueError, match=r"c\.json: the calibration belongs to another table"):
            Calibration.load(path, replace(table, header=header))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "x"}, "not a hwbench calibration"),
        ({"schema": 9}, "schema 9"),
        ({"rows": 3}, "broken"),
        ({"rows": []}, "10 subnets or more"),
        ({"rows": [{"arch": "r24-k3", "first_ms": 1, "second_ms": 1}]}, "has 5 units"),
        ({"settings": {}}, "broken"),
        ({"settings": {"terms": ["luck"]}}, "unknown terms"),
    ],
)
def test_a_broken_calibration_is_refused(
    table: Table, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    path = tmp_path / "c.json"
    measured(table).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=rf"c\.json: .*{says}"):
        Calibration.load(path, table)


def test_what_is_no_json_is_refused(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"c\.json"):
        Calibration.load(path, table)


@pytest.mark.parametrize("latency", [0.0, -1.0, float("nan"), float("inf")])
def test_a_latency_that_is_none_is_refused(table: Table, latency: float) -> None:
    good = measured(table)
    with pytest.raises(ValueError, match="positive number"):
        replace(good, first_ms=(latency, *good.first_ms[1:]))


def test_a_table_finds_the_calibration_beside_it(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "imagenet-w1.0.jsonl"
    with store.Writer(path, table.header) as writer:
        writer.append(table.entries.items())
    assert not load_model(path).calibrated
    calibration = measured(table)
    calibration.save(calibration_path(path))
    assert calibration_path(path).name == "imagenet-w1.0.calibration.json"
    assert load_model(path) == calibration.model


def test_a_factor_that_all_share_is_drift_and_no_noise(table: Table) -> None:
    calibration = measured(table)
    noise_pct, repeatability_pct = calibration.noise_pct, calibration.repeatability_pct
    slower = replace(calibration, second_ms=tuple(1.03 * ms for ms in calibration.second_ms))
    assert slower.drift_pct == pytest.approx((1.03 * (1 + calibration.drift_pct / 100) - 1) * 100)
    assert slower.noise_pct == pytest.approx(noise_pct)
    assert slower.repeatability_pct > repeatability_pct
    assert replace(calibration, second_ms=()).noise_pct is None
