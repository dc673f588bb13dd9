"""Worker processes leave Ctrl-C to their parent, and do not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import multiprocessing, time
from compofa.stopping import leave_to_parent

def child(ready):
    leave_to_parent()
    ready.set()
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    ready = context.Event()
    process = context.Process(target=child, args=(ready,))
    process.start()
    ready.wait()
    print(process.pid, flush=True)
    process.join()
"""


def runs(pid: int) -> bool:
    """Whether the process is there, and no zombie that nobody has waited for."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_worker_heeds_no_terminal_but_dies_with_its_parent(method, tmp_path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(method=method))
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
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
