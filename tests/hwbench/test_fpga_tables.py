"""Tables of a modelled target go through the same commands, and say that they are modelled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import build_lut, validate

from hwbench import tables
from lut.table import Table


def test_a_modelled_table_is_built_and_validated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    command = ["--backend", "fpga", "--target", "kv260-b4096", "--resolutions", "16,32", "--out", str(path)]
    assert build_lut.main(command) == 0
    table = Table.load(path)
    assert table.target.precision == "int8" and "modelled" in table.target.device
    assert dict(table.target.details)["target"] == "kv260-b4096"
    assert all(m.origin == "modelled" and m.cycles for m in table.entries.values())
    capsys.readouterr()
    assert validate.main(["--lut", str(path), "--subnets", "12", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["origin"] == "modelled"
    assert found["repeatability_pct"] == 0
    assert found["raw"]["mape_pct"] < 1e-6  # exact by construction: whole cycles, and no cost of the call


def test_a_table_goes_on_only_with_the_same_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--backend", "fpga", "--resolutions", "16", "--out", str(tmp_path / "t.jsonl")]
    assert build_lut.main([*command, "--target", "kv260-b4096"]) == 0
    capsys.readouterr()
    assert build_lut.main([*command, "--target", "zcu102-b4096"]) == 2
    assert "target kv260-b4096, not zcu102-b4096" in capsys.readouterr().err


def test_sums_overestimate_a_pipeline_and_validate_says_by_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.jsonl"
    command = ["--backend", "fpga", "--target", "streaming-100k", "--resolutions", "32", "--out", str(path)]
    assert build_lut.main(command) == 0
    capsys.readouterr()
    assert validate.main(["--lut", str(path), "--subnets", "12", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["raw"]["mape_pct"] > 50


def test_a_backend_without_targets_refuses_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_lut.main(["--target", "zcu102-b4096", "--out", str(tmp_path / "t.jsonl")]) == 2
    assert "with backend onnxruntime: --target zcu102-b4096; its options are" in capsys.readouterr().err


def test_a_resolution_that_is_none_of_the_familys_goes_through_all_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lut, rows, folder = tmp_path / "t.jsonl", tmp_path / "v.csv", tmp_path / "ofa"
    assert build_lut.main(["--backend", "fpga", "--resolutions", "48", "--out", str(lut)]) == 0
    assert validate.main(["--lut", str(lut), "--subnets", "20", "--csv", str(rows)]) == 0
    assert tables.main(["convert", str(lut), "--out", str(folder)]) == 0
    capsys.readouterr()
    assert tables.main(["diff", str(lut), str(folder), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["by_resolution"]) == ["48"]
    for path in (lut, folder):
        assert tables.main(["show", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["resolutions"][0]["resolution"] == 48
