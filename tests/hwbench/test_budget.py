"""A table from fewer measurements: as many as were allowed, the rest predicted and never taken for measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import build_lut, pareto, search, validate

from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut import store
from lut.table import Table, known_entries

SMALLEST, SECOND = GLYPHS.resolutions[:2]
COMPOFA = get_space("compofa", GLYPHS)
BLOCKS = COMPOFA.all_blocks((SMALLEST, SECOND))
SPACE = ("--space", "compofa", "--resolutions", f"{SMALLEST},{SECOND}")
MODEL = ("--backend", "fpga")
"""Answers at once; what it says counts as known, just as a measurement does."""


def build(capsys: pytest.CaptureFixture[str], path: Path, *arguments: str) -> dict:  # type: ignore[type-arg]
    assert build_lut.main([*SPACE, *arguments, "--out", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


@pytest.fixture
def partial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A table of all blocks, 24 of which are known."""
    path = tmp_path / "p.jsonl"
    build(capsys, path, *MODEL, "--budget", "24")
    return path


def test_the_budget_is_measured_and_the_rest_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On this machine's CPU."""
    path = tmp_path / "t.jsonl"
    found = build(capsys, path, "--budget", "20")
    assert (found["measured"], found["entries"], found["predicted"]["blocks"]) == (
        20,
        len(BLOCKS),
        len(BLOCKS) - 20,
    )
    table = Table.load(path)
    assert set(table.entries) == set(BLOCKS)
    assert table.provenance == f"20 blocks measured, {len(BLOCKS) - 20} predicted"
    for m in table.entries.values():
        assert bool(m.rounds_ms) == (m.origin == "measured")
        assert 0 < m.low_ms <= m.latency_ms <= m.high_ms


def test_a_higher_budget_goes_on_and_no_budget_measures_all(
    partial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = known_entries(Table.load(partial).entries)
    before = partial.read_bytes()
    more = build(capsys, partial, *MODEL, "--budget", "30")
    assert (more["modelled"], more["predicted"]["blocks"], more["predicted"]["from"]) == (
        6,
        len(BLOCKS) - 30,
        30,
    )
    assert partial.read_bytes().startswith(before)
    rest = build(capsys, partial, *MODEL)
    assert (rest["modelled"], rest["predicted"]) == (len(BLOCKS) - 30, None)
    table = Table.load(partial)
    assert table.origins == {"modelled": len(BLOCKS)}
    assert all(table.entries[block] == m for block, m in first.items())


def test_the_same_budget_again_changes_nothing(partial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = partial.read_bytes()
    assert build(capsys, partial, *MODEL, "--budget", "24")["modelled"] == 0
    assert partial.read_bytes() == before


def test_a_budget_above_all_blocks_is_no_budget(partial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(capsys, partial, *MODEL, "--budget", "1000")["predicted"] is None
    assert Table.load(partial).origins == {"modelled": len(BLOCKS)}


def test_a_budget_that_predicts_nothing_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.jsonl"
    assert build_lut.main([*SPACE, "--budget", "19", "--out", str(path)]) == 2
    assert "--budget must be at least 20" in capsys.readouterr().err
    assert not path.exists()


def test_ctrl_c_counts_only_what_was_measured(partial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from backends.fpga.backend import FpgaBackend

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FpgaBackend, "block_latencies", interrupt)
    before = partial.read_bytes()
    assert build_lut.main([*SPACE, *MODEL, "--budget", "30", "--out", str(partial)]) == 130
    assert partial.read_bytes() == before


def test_every_command_says_what_was_predicted(partial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    says = f"24 blocks modelled, {len(BLOCKS) - 24} predicted"
    origins = {"modelled": 24, "predicted": len(BLOCKS) - 24}

    assert pareto.main(["--space", "compofa", "--lut", str(partial), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["latency"] == f"sum of the table's entries, {says}"
    assert found["blocks"] == origins

    assert search.main(["--space", "compofa", "--lut", str(partial)]) == 0
    assert says in capsys.readouterr().out

    assert validate.main(["--lut", str(partial), "--subnets", "12", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["blocks"] == origins

    assert pareto.main(["--space", "compofa", "--lut", str(partial)]) == 0
    assert f"predicted by the calibrated table, {says}" in capsys.readouterr().out


def test_a_block_that_cannot_be_run_is_neither_asked_for_again_nor_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from backends.base import BlocksFailed
    from backends.fpga.backend import FpgaBackend

    answer = FpgaBackend.block_latencies
    broken = {block: "kernels of 5 are not there" for block in BLOCKS if block.kernel == 5}

    def block_latencies(self: FpgaBackend, blocks: list) -> list:  # type: ignore[type-arg]
        if reasons := {block: broken[block] for block in blocks if block in broken}:
            raise BlocksFailed(reasons)
        return answer(self, blocks)

    monkeypatch.setattr(FpgaBackend, "block_latencies", block_latencies)
    path = tmp_path / "t.jsonl"
    assert build_lut.main([*SPACE, *MODEL, "--budget", "30", "--out", str(path)]) == 1
    assert "kernels of 5 are not there" in capsys.readouterr().err
    table, failed = Table.load(path), store.read_failures(path)
    assert failed and failed.items() <= broken.items()
    assert not failed.keys() & table.entries.keys()
    assert table.origins == {"modelled": 30, "predicted": len(BLOCKS) - 30 - len(failed)}
