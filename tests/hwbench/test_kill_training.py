"""Training and evaluation are killed and interrupted at random moments, and lose nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_training.py"


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_done_twice():
    """The script itself fails unless every signal came in the middle and the results equal an undisturbed run's."""
    options = ["--kills", "2", "--interrupts", "2", "--steps", "60", "--subnets", "100"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert "'SIGKILL': 2" in line and "'SIGINT': 2" in line, line
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["train", "evaluate"]
