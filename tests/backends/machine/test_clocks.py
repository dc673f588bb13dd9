"""A run that was interrupted is told from one that was not, and not counted for what it was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backends.machine import clocks
from backends.machine.clocks import Clocks, host_clocks, reading


def test_one_thread_is_timed_by_its_own_processor_time() -> None:
    case = host_clocks(1).case(lambda: time.sleep(0.02))
    found = case(1)
    assert found.seconds < 0.01  # it slept
    assert not found.clean


def test_several_threads_are_timed_by_the_wall() -> None:
    found = host_clocks(2).case(lambda: time.sleep(0.02))(1)
    assert found.seconds >= 0.02 and not found.clean
    assert host_clocks(2).name == "wall time" and host_clocks(1).name == "thread CPU time"


def test_work_in_peace_is_clean() -> None:
    case = host_clocks(1).case(lambda: sum(range(500)))
    assert any(case(1).clean for _ in range(200))


@pytest.mark.parametrize(
    ("wall_s", "cpu_s", "undisturbed", "clean"),
    [
        (1.0, 1.0, True, True),
        (1.0, 1.0, False, False),  # the kernel took the core away
        (1.2, 1.0, True, False),  # it waited
        (21.0, 1.0, True, False),  # it was stopped
        (1.00001e-3, 1e-3, True, True),  # reading the clocks takes time
        (0.0, 0.0, True, False),  # the clock stands still
        (-1.0, -1.0, True, False),  # it jumped back
        (float("inf"), float("inf"), True, False),
        (float("nan"), float("nan"), True, False),
    ],
)
@pytest.mark.parametrize("by_cpu", [True, False])
def test_what_is_clean(wall_s: float, cpu_s: float, undisturbed: bool, clean: bool, by_cpu: bool) -> None:
    found = reading(wall_s, cpu_s, by_cpu, undisturbed, repeats=2)
    assert found.clean == clean
    if clean:
        assert found.seconds == (cpu_s if by_cpu else wall_s) / 2


def test_context_switches_count() -> None:
    switches = iter([3, 3, 3, 4])
    case = Clocks("x", cpu=time.perf_counter, switches=lambda: next(switches)).case(lambda: None)
    assert case(1).clean and not case(1).clean


def test_without_a_fine_processor_clock_the_wall_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "_fine", lambda name: False)
    found = host_clocks(1)
    assert found.name == "wall time" and found.cpu is None
    assert found.case(lambda: time.sleep(0.01))(1).seconds >= 0.01


STOPPED = """
import os
from backends.machine.clocks import host_clocks
def work():
    os.mkdir("at work")
    while not os.path.exists("enough"): pass
print(host_clocks({threads}).case(work)(1).clean, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_process_that_is_stopped_knows(threads: int, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPED.format(threads=threads)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        text=True,
    )
    while child.poll() is None and not (tmp_path / "at work").exists():
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(0.3)
    (tmp_path / "enough").touch()
    os.kill(child.pid, signal.SIGCONT)
    assert child.communicate(timeout=120)[0] == "False\n"
