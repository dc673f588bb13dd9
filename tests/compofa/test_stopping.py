"""Worker processes leave Ctrl-C to their parent, and do not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import time
from compofa.stopping import leave_to_parent
leave_to_parent()
print("ready", flush=True)
time.sleep(600)
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def runs(pid: int) -> bool:
    """Whether the process is there, and no zombie that nobody has waited for."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="the death of a parent is told on Linux only")
def test_a_worker_heeds_no_terminal_but_dies_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(child, number)
    time.sleep(0.2)
    assert runs(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end_s = time.monotonic() + 60
    while runs(child) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not runs(child)
