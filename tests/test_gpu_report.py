"""benchmarks/gpu.sh runs its steps to the end on a machine without a GPU, and says what it could not have."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backends.machine.cuda_probe import cuda_reason

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.sh"


def run(folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The cases of the report, and what was printed for people."""
    command = ["bash", str(SCRIPT), "--small", *arguments, "--folder", str(folder)]
    environment = {**os.environ, "PYTHON": sys.executable, "PACKAGES": str(folder / "none")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads((folder / "report.json").read_text())["cases"], done.stdout


@pytest.mark.skipif(cuda_reason() is None, reason="there is a GPU here")
def test_what_the_machine_lacks_is_reported_not_fatal(tmp_path: Path) -> None:
    found, printed = run(tmp_path, "--only", "torch-fp16-b1", "--only", "tensorrt-rtx-fp16-b1")
    assert "no NVIDIA driver" in found["torch-fp16-b1"]["unavailable"]
    # One network is tried first, and what it says stands for them all.
    assert found["tensorrt-rtx-one-network"] == found["tensorrt-rtx-fp16-b1"]
    assert "no NVIDIA driver" in found["tensorrt-rtx-fp16-b1"]["unavailable"]
    assert [row.split()[1] for row in printed.splitlines()] == ["unavailable:"] * 3


def test_an_unknown_case_is_told_those_there_are(tmp_path: Path) -> None:
    command = ["bash", str(SCRIPT), "--only", "torch-fp16", "--folder", str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("gpu_report: there are the cases torch-fp16-b64, torch-fp16-b1, ")


def test_too_little_time_leaves_a_case_unfinished(tmp_path: Path) -> None:
    case = ("--device", "cpu", "--only", "onnxruntime-fp32-b1")
    found, printed = run(tmp_path, *case, "--within", "0")
    assert found["onnxruntime-fp32-b1"] == {"unfinished": "no time left for it: --within 0"}
    found, printed = run(tmp_path, *case, "--limit", "0.2")
    assert found["onnxruntime-fp32-b1"]["unfinished"].startswith("longer than 0.2 s: ")
    assert printed.split()[:2] == ["onnxruntime-fp32-b1", "unfinished:"]


def test_a_mistake_of_the_script_costs_one_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    script = importlib.import_module("gpu_report")
    done = []

    def build(self: Any, case: Any, found: dict[str, Any]) -> None:
        done.append(case.name)
        raise FileNotFoundError(case.name)

    monkeypatch.setattr(script.Run, "_build", build)
    run = script.Run(script.parser().parse_args(["--device", "cpu", "--small", "--folder", str(tmp_path)]))
    run.all()
    assert done == ["torch-fp32-b1", "onnxruntime-fp32-b1", "torch-fp32-energy-b1"]
    cases = json.loads((tmp_path / "report.json").read_text())["cases"]
    assert {found["failed"] for found in cases.values()} == {
        f"FileNotFoundError in this script: {name}" for name in done
    }


@pytest.mark.slow
def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    case = ("--device", "cpu", "--only", "onnxruntime-fp32-b1")
    run(tmp_path, *case, "--limit", "0.2")
    found, printed = run(tmp_path, *case)
    finished = found["onnxruntime-fp32-b1"]
    assert finished.keys() == {"built", "clocks", "validated", "ways"}
    assert finished["ways"].keys() == {"cost"}
    assert finished["validated"]["n"] == 12
    assert "repeatability" in printed and "onnxruntime " in printed and "12 subnets" in printed
    again, _ = run(tmp_path, *case)
    assert again["onnxruntime-fp32-b1"] == finished  # and is not done again


@pytest.mark.slow
def test_blocks_are_timed_in_several_ways(tmp_path: Path) -> None:
    found, _ = run(tmp_path, "--device", "cpu", "--only", "torch-fp32-b1")
    ways = found["torch-fp32-b1"]["ways"]
    assert ways.keys() == {"cost", "alone_ms"}
    assert all(scores["calibrated"]["mape_pct"] > 0 for scores in ways.values())


@pytest.mark.slow
@pytest.mark.needs_rtx
def test_engines_are_built_beforehand(tmp_path: Path) -> None:
    command = ["bash", str(SCRIPT), "--small", "--prepare", "8.9", "--folder", str(tmp_path)]
    subprocess.run(
        [*command, "--only", "tensorrt-rtx-fp16-b1"], env={**os.environ, "PYTHON": sys.executable}, check=True
    )
    assert len(list((tmp_path / "engines").rglob("*.engine"))) > 100
