"""benchmarks/gpu.sh runs its steps to the end on a machine without a GPU, and says what it could not have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.machine.cuda_probe import cuda_reason

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.sh"


def report(folder: Path, *arguments: str) -> dict[str, dict[str, object]]:
    out = folder / "gpu.json"
    command = ["bash", str(SCRIPT), "--small", *arguments, "--folder", str(folder), "--out", str(out)]
    subprocess.run(command, env={**os.environ, "PYTHON": sys.executable}, check=True, capture_output=True)
    cases: dict[str, dict[str, object]] = json.loads(out.read_text())["cases"]
    return cases


def test_what_the_machine_lacks_is_reported_not_fatal(tmp_path: Path) -> None:
    if cuda_reason() is None:
        pytest.skip("there is a GPU here")
    found = report(tmp_path, "--only", "tensorrt-fp16-b1")
    assert "no NVIDIA driver" in str(found["tensorrt-fp16-b1"]["unavailable"])


@pytest.mark.slow
def test_the_steps_run_without_a_gpu(tmp_path: Path) -> None:
    found = report(tmp_path, "--device", "cpu")["torch-fp32-b1"]
    ways = found["ways"]
    assert isinstance(ways, dict) and ways.keys() == {"cost", "alone_ms"}
    for scores in ways.values():
        assert scores["calibrated"]["mape_pct"] > 0
    # a second report keeps what the first one found
    assert report(tmp_path, "--device", "cpu", "--only", "torch-fp32-b1").keys() == {"torch-fp32-b1"}
