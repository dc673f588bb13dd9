"""Ctrl-C during a build of the tvm backend: one line, no process left, nothing measured lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut import store

pytestmark = pytest.mark.needs_tvm

SMALLEST = GLYPHS.resolutions[0]
WANTED = len(get_space("compofa", GLYPHS).all_blocks((SMALLEST,)))
DEADLINE_S = 300.0


def build_until(path: Path, home: Path, reached: Callable[[psutil.Process], bool]) -> tuple[int, str]:
    """Exit code and what was said of a build that gets Ctrl-C, as a terminal sends it, once `reached`."""
    arguments = ["--backend", "tvm", "--space", "compofa", "--resolutions", str(SMALLEST), "--out", str(path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "hwbench.build_lut", *arguments],
        env={**os.environ, "HWBENCH_HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + DEADLINE_S
    while not reached(psutil.Process(process.pid)):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children, "nothing was under way"
    os.killpg(process.pid, signal.SIGINT)
    shown, said = process.communicate(timeout=60)
    assert shown == ""
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    return process.returncode, said


def check(said: str, path: Path, done: int) -> None:
    warning, *_, line = said.splitlines()
    assert "the code is not tuned" in warning
    assert line == (
        f"hwbench build_lut: interrupted: {done} of {WANTED} blocks are in {path}; "
        "the same command goes on from there"
    )


def test_while_it_compiles(tmp_path: Path) -> None:
    path, home = tmp_path / "t.jsonl", tmp_path / "home"
    # The first library is that of the reference.
    code, said = build_until(path, home, lambda _: len(list(home.glob("tvm/libraries/*.json"))) > 1)
    assert code == 130
    check(said, path, 0)
    assert not path.exists()
    assert not [p for p in home.glob("tvm/libraries/*") if p.suffix == ".so" and not p.stat().st_size]


@pytest.mark.slow
def test_between_batches_and_again_while_it_works(tmp_path: Path, tvm_home: Path) -> None:
    path = tmp_path / "t.jsonl"

    def entries() -> int:
        return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0

    def at_work(build: psutil.Process) -> bool:
        return any(child.cpu_times().user > 1 for child in build.children(recursive=True))

    code, said = build_until(path, tvm_home, lambda _: entries() > 0)
    first = store.read(path)[1]
    assert code == 130 and 0 < len(first) < WANTED
    check(said, path, len(first))
    code, said = build_until(path, tvm_home, at_work)
    second = store.read(path)[1]
    assert code == 130 and list(second.items())[: len(first)] == list(first.items())
    assert re.search(rf"has {len(first)} of {WANTED} blocks already", said)
