"""The trace command: files that can be opened, figures that say they are modelled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.base import Settings
from backends.fpga.backend import FpgaBackend
from compofa.network import arch_blocks
from compofa.spaces.arch import extreme
from compofa.spaces.registry import GLYPHS
from hwbench import trace


def test_it_writes_the_trace_and_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = (tmp_path / "t.json", tmp_path / "t.svg")
    assert trace.main(["--trace", str(files[0]), "--out", str(files[1]), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["origin"] == "modelled"
    events = [e for e in json.loads(files[0].read_text())["traceEvents"] if e["ph"] == "X"]
    end_us = max(event["ts"] + event["dur"] for event in events)
    assert end_us == pytest.approx(1e3 * document["latency_ms"])
    assert "<svg" in files[1].read_text()[:500]


def test_its_cycles_are_near_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """The simulator's whole tiles against the closed form's equal ones."""
    assert trace.main(["--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    network = arch_blocks(GLYPHS, extreme(GLYPHS, largest=True))
    (quick,) = FpgaBackend(Settings("int8")).network_latencies([network])
    assert document["cycles"] == pytest.approx(quick.cycles, rel=0.02)


def test_what_is_printed_says_modelled(capsys: pytest.CaptureFixture[str]) -> None:
    assert trace.main([]) == 0
    assert all("modelled" in line for line in capsys.readouterr().out.splitlines() if " ms" in line)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target", "zcu999"], "unknown target 'zcu999'"),
        (["--target", "streaming-100k"], "is a pipeline: its layers have no tiles"),
        (["--arch", "r1"], "not a subnet: 'r1'"),
        (["--trace", "x.txt"], "must end in one of .json"),
        (["--precision", "int16"], "cannot compute in int16"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert trace.main(arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and says in errors[0]
