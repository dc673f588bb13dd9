"""Freed memory that is kept."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from compofa.memory import freed_memory_kept, keep_freed_memory

FAULTS = """
import contextlib, resource, sys, torch
from compofa.memory import freed_memory_kept

def faults():
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [torch.ones(size << 18) for size in (3, 40, 9)]  # MiB: of every kind that malloc tells apart
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun

before = faults()
with freed_memory_kept():
    faults()
    kept = faults()
print(before, kept, faults())
"""


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_with_another_library_nothing_is_done(error: type[Exception], monkeypatch) -> None:
    def missing(name: None) -> None:
        raise error

    monkeypatch.setattr("ctypes.CDLL", missing)
    with freed_memory_kept():
        pass
    keep_freed_memory()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of the GNU C library")
def test_what_is_kept_is_not_fetched_again_and_goes_back_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    before, kept, after = map(int, done.stdout.split())
    pages_of_a_turn = 52 * 256 / 512  # of 4 KiB, or of 2 MiB where the system makes large ones
    assert before > 20 * pages_of_a_turn / 2
    assert kept < before / 20
    assert after > before / 20
