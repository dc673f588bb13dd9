"""Building a table: only what the space needs, never twice, and whatever ends it, what was measured stays."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import build_lut

from backends.base import Backend, BlocksFailed, CannotRun, Measurement, Network, Settings, Target
from compofa.blocks import Block
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import building, tables
from lut import store
from lut.paths import default_path
from lut.table import Table
from lut.trust import choose_table

SMALLEST, SECOND = GLYPHS.resolutions[:2]
COMPOFA = get_space("compofa", GLYPHS)
QUICK = ("--space", "compofa", "--resolutions", str(SMALLEST))
LONG = ("--space", "ofa")
"""Half a minute: what is done to such a build comes before its end, however busy this machine is."""


def start(path: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hwbench.build_lut", *arguments, "--out", str(path)]
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        command,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# --- what a table holds ---


def test_a_table_has_the_blocks_of_the_space_and_no_others(built: Path) -> None:
    table = Table.load(built)
    assert set(table.entries) == set(COMPOFA.all_blocks((SMALLEST,)))
    assert (table.header.family, table.header.space, table.header.resolutions) == (
        "glyphs",
        "compofa",
        (SMALLEST,),
    )
    assert table.target.backend == "onnxruntime"
    assert "onnxruntime" in dict(table.target.versions)
    assert all(m.origin == "measured" and m.rounds_ms for m in table.entries.values())


def test_the_order_is_random_so_that_drift_hits_all_alike(built: Path) -> None:
    assert list(Table.load(built).entries) != list(COMPOFA.all_blocks((SMALLEST,)))


def test_a_finished_table_is_not_measured_again(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = copy.read_bytes()
    assert build_lut.main([*QUICK, "--out", str(copy), "--json"]) == 0
    shown = capsys.readouterr()
    summary = json.loads(shown.out)
    count = len(COMPOFA.all_blocks((SMALLEST,)))
    assert (summary["entries"], summary["measured"], summary["lut"]) == (count, 0, str(copy))
    assert "has " + f"{count} of {count} blocks already" in shown.err
    assert copy.read_bytes() == before


def test_a_wider_space_adds_only_what_it_lacks(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = copy.read_bytes()
    wider = ("--space", "compofa", "--resolutions", f"{SMALLEST},{SECOND}", "--out", str(copy), "--json")
    assert build_lut.main(wider) == 0
    wanted = COMPOFA.all_blocks((SMALLEST, SECOND))
    summary = json.loads(capsys.readouterr().out)
    assert summary["measured"] == len(wanted) - len(COMPOFA.all_blocks((SMALLEST,)))
    timing_s = summary["seconds_timing"] or 0
    assert 0 <= timing_s <= summary["seconds_measuring"] <= summary["seconds"]
    assert summary["seconds_measuring"] > 0
    assert copy.read_bytes().startswith(before)
    assert set(Table.load(copy).entries) == set(wanted)


def test_without_out_the_table_goes_to_the_documented_place(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    expected = default_path(Table.load(built).target, "glyphs")
    expected.parent.mkdir()
    expected.write_bytes(built.read_bytes())
    assert build_lut.main(QUICK) == 0
    assert expected.read_bytes() == built.read_bytes()
    choice = choose_table(GLYPHS)
    assert choice and choice.path == expected


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--backend", "abacus"], "unknown backend 'abacus'; there are fpga, onnxruntime"),
        (
            ["--family", "resnets"],
            "unknown family 'resnets'; there are glyphs, glyphs-proxyless, glyphs-resnet",
        ),
        (["--space", "nas"], "unknown space 'nas'; there are ofa, compofa, compofa-elastic"),
        (["--resolutions", "7"], "images have a side from there to 8192 pixels, not 7"),
        (["--precision", "fp3"], "fp3"),
        (["--out", "/nowhere/t.jsonl"], "cannot write /nowhere/t.jsonl"),
    ],
)
def test_bad_input_is_one_line_that_says_what_there_is(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_lut.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("hwbench build_lut: error: ")
    assert says in shown.err
    assert shown.err.count("\n") == 1


def test_a_table_of_another_family_or_target_is_not_resumed(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copy.read_bytes()
    other = ["--family", "imagenet-w1.0", "--resolutions", "128", "--out", str(copy)]
    assert build_lut.main(other) == 2
    assert "family glyphs, not imagenet-w1.0" in capsys.readouterr().err
    assert build_lut.main([*QUICK, "--batch", "2", "--out", str(copy)]) == 2
    assert "batch 1, not 2" in capsys.readouterr().err
    header = store.read_header(copy)
    old = tmp_path / "old.jsonl"
    versions = (("onnxruntime", "0.1"),)
    other_target = replace(header, target=replace(header.target, versions=versions))
    with store.Writer(old, other_target) as writer:
        writer.append(Table.load(copy).entries.items())
    assert build_lut.main([*QUICK, "--out", str(old)]) == 2
    assert "onnxruntime 0.1, not " in capsys.readouterr().err
    assert copy.read_bytes() == before


def test_a_second_build_on_the_same_file_is_refused_at_once(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with store.Writer(copy, store.read_header(copy)):
        assert build_lut.main([*QUICK, "--out", str(copy)]) == 1
    assert "being written by another process" in capsys.readouterr().err


# --- ends that nobody planned ---


def wait_for_entries(path: Path, process: subprocess.Popen[str], lines: int = 1) -> None:
    """Until the table has more than so many lines, of which the header is one, or the build has ended."""
    while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") > lines):
        time.sleep(0.02)


def test_ctrl_c_keeps_what_was_measured_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    process = start(path, *LONG)
    wait_for_entries(path, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    kept = len(Table.load(path).entries)
    total = len(get_space("ofa", GLYPHS).all_blocks(GLYPHS.resolutions))
    assert 0 < kept < total
    says = f"interrupted: {kept} of {total} blocks are in {path}; the same command goes on from there"
    assert errors.splitlines()[-1] == f"hwbench build_lut: {says}"


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """A limit on the file's size stops a write in the middle, as a full disk does."""
    path = tmp_path / "t.jsonl"
    limit = (4000, 4000)  # less than the header and the first batch
    process = start(
        path,
        *("--backend", "fpga", *QUICK),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, f"hwbench build_lut: error: {path}: File too large\n")
    assert list(tmp_path.iterdir()) == []  # no header without entries, which would count as the newest table


def kill_builds(*arguments: str) -> dict[str, Any]:
    """What benchmarks/kill_builds.py saw, by signal."""
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "benchmarks" / "kill_builds.py"), *arguments, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_a_kill_in_the_middle_of_a_build_loses_nothing_and_measures_nothing_twice() -> None:
    seed = os.environ.get("HWBENCH_TEST_SEED", "0")
    quick = ("--kills", "2", "--signals", "SIGKILL", "--space", "compofa", "--resolutions", str(SMALLEST))
    seen = kill_builds(*quick, "--seed", seed)["SIGKILL"]
    assert seen["in_the_middle"] == 2 and seen["tables"] >= 1 and seen["problems"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_many_kills_lose_nothing_and_measure_nothing_twice(name: str) -> None:
    seen = kill_builds("--kills", "6", "--signals", name, "--seed", "1")[name]
    assert seen["in_the_middle"] == 6 and seen["problems"] == []
    assert seen["with_entries"] >= 3


def test_a_file_under_a_running_build_is_not_replaced(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`tables ... --force` on it would lose what the build adds from then on."""
    path = tmp_path / "t.jsonl"
    process = start(path, *LONG)
    wait_for_entries(path, process)
    assert process.poll() is None
    assert tables.main(["convert", str(built), "--out", str(path), "--force"]) == 1
    assert "being written by another process" in capsys.readouterr().err
    lines = path.read_bytes().count(b"\n")
    wait_for_entries(path, process, lines)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert len(Table.load(path).entries) >= lines


def test_a_table_whose_newlines_are_gone_is_not_wiped(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy.write_bytes(copy.read_bytes().replace(b"\n", b"\r"))
    before = copy.read_bytes()
    assert build_lut.main([*QUICK, "--out", str(copy)]) == 2
    assert "bare carriage returns" in capsys.readouterr().err
    assert copy.read_bytes() == before


# --- what it says of its numbers ---


def test_a_model_s_numbers_are_not_called_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.jsonl"
    arguments = ["--backend", "fpga", "--target", "kv260-b4096", *QUICK, "--out", str(path)]
    assert build_lut.main(arguments) == 0
    shown = capsys.readouterr()
    count = len(COMPOFA.all_blocks((SMALLEST,)))
    assert f"{count} ({count} modelled now, 0 noisy)" in shown.out
    assert "measured" not in shown.out + shown.err
    assert build_lut.main([*arguments, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["measured"], summary["modelled"]) == (0, 0)


def test_another_number_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the block that is timed to the header, the answers, and the refusal to mix."""
    path = tmp_path / "t.jsonl"
    assert build_lut.main([*QUICK, "--classes", "10", "--out", str(path)]) == 0
    table = Table.load(path)
    ten = replace(GLYPHS, classes=10)
    assert (table.header.classes, table.family) == (10, ten)
    (linear,) = (block for block in table.entries if block.kind == "linear")
    assert linear.out_channels == 10
    compofa = get_space("compofa", ten)
    assert table.complete_resolutions(compofa) == (SMALLEST,)
    arch = compofa.sample(np.random.default_rng(0), SMALLEST)
    expected = sum(table.entries[block].latency_ms for block in compofa.blocks(arch))
    assert table.predict(encode(ten, [arch]))[0] == pytest.approx(expected)
    assert build_lut.main([*QUICK, "--out", str(path)]) == 2
    assert "family glyphs with 10 classes, not glyphs" in capsys.readouterr().err
    assert build_lut.main([*QUICK, "--classes", "62", "--out", str(tmp_path / "u.jsonl")]) == 0
    assert store.read_header(tmp_path / "u.jsonl").classes is None


# --- blocks that cannot be run ---


class Picky(Backend):
    """Gives every block a millisecond, but refuses the classifier."""

    name = "picky"

    @classmethod
    def probe(cls) -> str | None:
        return None

    @property
    def target(self) -> Target:
        return Target("picky", "nowhere")

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        if refused := [block for block in blocks if block.kind == "linear"]:
            raise BlocksFailed(dict.fromkeys(refused, "out of memory"))
        return [Measurement("modelled", 1.0, 1.0, 1.0) for _ in blocks]

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        raise CannotRun("out of memory")


def test_a_block_that_cannot_be_run_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(building, "open_backend", lambda *args: Picky(Settings()))
    path = tmp_path / "t.jsonl"
    assert build_lut.main([*QUICK, "--out", str(path), "--json"]) == 1
    shown = capsys.readouterr()
    (linear,) = (block for block in COMPOFA.all_blocks((SMALLEST,)) if block.kind == "linear")
    assert json.loads(shown.out)["failed"] == {str(linear): "out of memory"}
    assert f"failed   {linear}: out of memory\n" in shown.err
    assert store.read(path)[1].keys() == set(COMPOFA.all_blocks((SMALLEST,))) - {linear}


def test_a_backend_that_blames_other_blocks_is_not_asked_for_ever() -> None:
    class Wrong(Picky):
        def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
            raise BlocksFailed({Block("pool", (1, 1, 1), 1): "out of memory"})

    with pytest.raises(BlocksFailed):
        list(Wrong(Settings()).as_they_come(COMPOFA.all_blocks((SMALLEST,))[:2]))
