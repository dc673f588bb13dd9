"""Validating: whole networks decide whether a table is believed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Measurement, Target
from compofa.arch import arch_blocks
from compofa.blocks import total_params
from compofa.families import GLYPHS, get_family
from compofa.genotype import decode
from compofa.spaces import get_space
from hwbench import fit, plots, validate
from lut import store
from lut.calibration import Calibration, calibration_path, load_model
from lut.subnet_model import SubnetModel
from lut.table import Table

SMALLEST, SECOND = GLYPHS.resolutions[:2]
SCORES = {"mape_pct", "within_5_pct", "within_10_pct", "spearman"}


def synthetic(target: Target, *spaces: tuple[str, tuple[int, ...]]) -> Table:
    """A table of glyphs that covers the given (space, resolutions)."""
    blocks = {b for name, resolutions in spaces for b in get_space(name, GLYPHS).all_blocks(resolutions)}
    header = store.Header(target, "glyphs", "ofa", GLYPHS.resolutions, "2026")
    return Table(header, {b: Measurement("modelled", 0.1, 0.1, 0.1) for b in blocks})


def test_scores_picture_and_calibration(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate.main(["--lut", str(copy), "--subnets", "12", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["n"] == 12
    for key in ("raw", "calibrated"):
        assert set(document[key]) == SCORES
        assert document[key]["mape_pct"] >= 0
        assert document[key]["within_5_pct"] <= document[key]["within_10_pct"] <= 100
    assert document["repeatability_pct"] >= 0
    assert document["target"] == Table.load(copy).target.to_dict() == document["measured_on"]
    assert Path(document["picture"]).read_bytes().startswith(b"\x89PNG")
    calibration = Calibration.load(Path(document["calibration"]), Table.load(copy))
    assert len(set(calibration.archs)) == 12
    assert load_model(copy).calibrated
    assert dict(load_model(copy).coefficients) == document["model"]


def test_what_was_measured_can_be_learned_from(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, model = tmp_path / "s.csv", tmp_path / "m.json"
    assert validate.main(["--lut", str(copy), "--subnets", "20", "--csv", str(measured), "--json"]) == 0
    calibration = Calibration.load(Path(json.loads(capsys.readouterr().out)["calibration"]), Table.load(copy))
    given = [
        "--measured",
        str(measured),
        "--column",
        "measured_ms",
        "--model",
        "additive",
        "--out",
        str(model),
    ]
    assert fit.main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == str(Table.load(copy).target)
    learned = SubnetModel.load(model)
    assert decode(GLYPHS, learned.genotypes) == list(calibration.archs)
    np.testing.assert_allclose(learned.latency_ms, calibration.measured_ms, rtol=1e-5)


def recorded_elsewhere(path: Path) -> None:
    """Rewrite the header as if another version had measured the table."""
    header, entries = store.read(path)
    path.unlink()
    with store.Writer(
        path, replace(header, target=replace(header.target, versions=(("onnxruntime", "0.1"),)))
    ) as writer:
        writer.append(entries.items())


def test_a_table_of_another_target_is_refused_unless_forced(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded_elsewhere(copy)
    assert validate.main(["--lut", str(copy), "--subnets", "10"]) == 2
    refusal = capsys.readouterr().err
    assert "onnxruntime 0.1, not " in refusal
    assert "--force-target" in refusal
    assert refusal.count("\n") == 1
    assert validate.main(["--lut", str(copy), "--subnets", "10", "--force-target"]) == 0
    shown = capsys.readouterr()
    assert "warning: the table is of another target" in shown.err
    assert all(word in shown.out for word in ("MAPE", "Spearman", "raw sum", "repeatability", "not kept"))
    assert not calibration_path(copy).exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--subnets", "3"], "--subnets must be 10 to 243 here, not 3"),
        (["--subnets", "244"], "--subnets must be 10 to 243 here, not 244"),
        (["--space", "ofa"], "covers space ofa at no resolution; finish it with build_lut"),
        (["--space", "nas"], "unknown space 'nas'"),
        (["--out", "p.bmp"], "must end in one of .png, .svg, .pdf"),
        (["--out", "/nowhere/p.png"], "cannot write /nowhere/p.png"),
        (["--lut", "/nowhere/t.jsonl"], "/nowhere/t.jsonl: No such file"),
    ],
)
def test_bad_input_is_one_line(
    built: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate.main(["--lut", str(built), *arguments]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert shown.count("\n") == 1


def test_without_a_table_it_says_how_to_build_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    assert validate.main([]) == 2
    assert "run hwbench build_lut --family glyphs" in capsys.readouterr().err


@given(seed=st.integers(0, 2**32), count=st.integers(10, 60), name=st.sampled_from(["ofa", "compofa"]))
@settings(max_examples=20, deadline=None)
def test_subnets_are_distinct_and_the_table_can_answer_for_them(seed: int, count: int, name: str) -> None:
    table = synthetic(Target("none", "nowhere"), (name, (SMALLEST, SECOND)))
    space = get_space(name, GLYPHS)
    archs = validate.draw_subnets(table, space, count, np.random.default_rng(seed))
    assert len(set(archs)) == len(archs) == count
    assert all(space.contains(arch) for arch in archs)
    assert all(table.latency_ms(arch_blocks(GLYPHS, arch)) > 0 for arch in archs)


def test_all_of_a_small_space_may_be_drawn() -> None:
    table = synthetic(Target("none", "nowhere"), ("compofa", (SMALLEST,)))
    space = get_space("compofa", GLYPHS)
    archs = validate.draw_subnets(table, space, 243, np.random.default_rng(0))
    assert set(archs) == set(space.enumerate((SMALLEST,)))


def test_networks_are_measured_in_groups_that_fit_the_memory() -> None:
    family = get_family("imagenet-w1.2")
    space, rng = get_space("ofa", family), np.random.default_rng(0)
    networks = [space.blocks(space.sample(rng)) for _ in range(30)]
    order = rng.permutation(30).tolist()
    groups = validate._groups(order, networks)
    assert [i for group in groups for i in group] == order
    sizes = [sum(total_params(networks[i]) for i in group) for group in groups]
    assert all(size <= validate.MAX_PARAMS_AT_ONCE for size in sizes)
    assert 1 < len(groups) < 15


def test_ctrl_c_in_the_middle_of_a_validation(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(validate, "_one_pass", interrupted)
    assert validate.main(["--lut", str(copy), "--subnets", "10"]) == 130
    assert "measures everything twice or says nothing" in capsys.readouterr().err
    assert not calibration_path(copy).exists()


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_picture_has_the_format_of_its_name(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"p.{suffix}"
    measured = np.linspace(1, 2, 12)
    panels = [
        plots.Panel("raw sum", measured * 0.9, 10.0, 1.0),
        plots.Panel("calibrated", measured, 0.0, None),
    ]
    plots.draw_validation(path, measured_ms=measured, panels=panels, title="title", target="target")
    assert path.read_bytes().startswith(magic)
