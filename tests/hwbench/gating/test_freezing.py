"""Freezing: halves that share nothing, files that any version reads back, nothing overwritten."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compofa.errors import InputError
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.gating import freezing, golden, noise
from hwbench.gating.golden import building_key
from lut.calibration import Calibration, calibration_path
from lut.table import Table

REFERENCE = shipped.reference_table("glyphs")
"""With a calibration of 60 subnets beside it."""


@pytest.fixture
def little_noise_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the margins do not matter they need not take seconds."""
    monkeypatch.setattr(noise, "TOSSES", 3)


@given(seed=st.integers(0, 2**32), count=st.integers(2, 80), name=st.sampled_from(["ofa", "compofa"]))
@settings(deadline=None)
def test_halves_are_equal_and_share_nothing(seed: int, count: int, name: str) -> None:
    rng, space = np.random.default_rng(seed), get_space(name, GLYPHS)
    archs = list(dict.fromkeys(space.sample(rng) for _ in range(count)))
    halves = freezing.split(archs, seed)
    assert sorted((*halves[0], *halves[1])) == list(range(len(archs)))
    keys = [{building_key(archs[i]) for i in half} for half in halves]
    assert not keys[0] & keys[1]
    sizes = [Counter(archs[i].resolution for i in half) for half in halves]
    together = Counter(Counter(map(building_key, archs)).values())
    if set(together) == {1}:
        assert all(abs(sizes[0][r] - sizes[1][r]) <= 1 for r in GLYPHS.resolutions)


def test_a_subnet_at_several_resolutions_stays_on_one_side() -> None:
    space = get_space("compofa", GLYPHS)
    archs = list(space.enumerate())
    one, two = freezing.split(archs, seed=0)
    assert {archs[i].units for i in one}.isdisjoint(archs[i].units for i in two)
    assert abs(len(one) - len(two)) <= 5


@pytest.mark.usefixtures("little_noise_study")
def test_what_is_frozen_is_read_back(tmp_path: Path) -> None:
    entry = freezing.freeze(tmp_path / "g", REFERENCE, "mine", seed=0)
    found = golden.load(tmp_path / "g", golden.read_manifest(tmp_path / "g")["mine"])
    measured = Table.load(REFERENCE)
    calibration = Calibration.load(calibration_path(REFERENCE), measured)
    assert found.entry == entry
    assert found.table.header == measured.header
    assert list(found.table.entries) == list(measured.entries)
    for block, m in found.table.entries.items():
        assert m.latency_ms == pytest.approx(measured.entries[block].latency_ms, rel=1e-5)
        assert not m.rounds_ms
    frozen = {**dict(zip(found.training.archs, found.training.measured_ms, strict=True))}
    frozen |= dict(zip(found.test.archs, found.test.measured_ms, strict=True))
    assert set(frozen) == set(calibration.archs)
    np.testing.assert_allclose(
        [frozen[arch] for arch in calibration.archs], calibration.measured_ms, rtol=1e-5
    )
    assert not list((tmp_path / "g").glob("*.tmp"))


@pytest.mark.usefixtures("little_noise_study")
def test_the_same_measurements_freeze_to_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (
        freezing.freeze(tmp_path / str(i), REFERENCE, "m", seed) for i, seed in enumerate((0, 0, 1))
    )
    assert one == two
    assert one.files["m.test.json"] != other.files["m.test.json"]


@pytest.mark.usefixtures("little_noise_study")
def test_a_second_set_joins_the_first_and_replaces_none(tmp_path: Path) -> None:
    freezing.freeze(tmp_path, REFERENCE, "a", seed=0)
    freezing.freeze(tmp_path, REFERENCE, "b", seed=0)
    assert set(golden.read_manifest(tmp_path)) == {"a", "b"}
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"a\.jsonl is there already: delete set a first"):
        freezing.freeze(tmp_path, REFERENCE, "a", seed=1)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("name", ["", "../x", "a/b", "<x>", ".hidden", "a b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        freezing.freeze(tmp_path / "g", REFERENCE, name, seed=0)
    assert not (tmp_path / "g").exists()


def test_what_was_measured_once_makes_no_set(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_bytes(REFERENCE.read_bytes())
    whole = Calibration.load(calibration_path(REFERENCE), Table.load(REFERENCE))
    Calibration(whole.table, whole.archs, whole.first_ms).save(calibration_path(table))
    with pytest.raises(InputError, match="measured once each"):
        freezing.freeze(tmp_path / "g", table, "m", seed=0)
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize("factor", [0.05, 1.0, 5.0])
def test_default_limits_can_be_read_back(factor: float) -> None:
    """However wrong the predictions are."""
    measured = np.linspace(1, 2, 40)
    found = asdict(freezing.default_limits(measured, factor * measured[::-1]))
    assert asdict(golden._parse_figures("m", "limits", dict(found))) == found


def test_too_few_subnets_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_bytes(REFERENCE.read_bytes())
    whole = Calibration.load(calibration_path(REFERENCE), Table.load(REFERENCE))
    few = Calibration(whole.table, whole.archs[:30], whole.first_ms[:30], whole.second_ms[:30])
    few.save(calibration_path(table))
    with pytest.raises(ValueError, match=r"30 subnets are too few .* validate --subnets 40"):
        freezing.freeze(tmp_path / "g", table, "m", seed=0)
    assert not (tmp_path / "g").exists()
