"""What ``import hwbench`` gives."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest

import hwbench
from hwbench import api

NAMES = {
    "Arch", "Block", "Family", "HwbenchError", "InputError", "Network", "RunFailed", "Unavailable",
    "families", "get_family", "get_space", "network", "open_table", "reference_table",
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert set(hwbench.__all__) == NAMES
    assert set(dir(hwbench)) >= NAMES
    for name in NAMES:
        assert getattr(hwbench, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'; it has Arch"):
        hwbench.nothing  # noqa: B018


def test_every_example_runs() -> None:
    found = doctest.testmod(api)
    assert found.attempted >= 10 and not found.failed


def test_errors_are_one_tree() -> None:
    assert issubclass(hwbench.InputError, hwbench.HwbenchError) and issubclass(hwbench.InputError, ValueError)
    with pytest.raises(hwbench.InputError, match="unknown family 'nothing'"):
        hwbench.network("r32-k3e3", "nothing")
    with pytest.raises(hwbench.HwbenchError, match="glyphs has 5 units"):
        hwbench.network("r32-k3e3")


def test_importing_and_reading_a_table_loads_nothing_heavy() -> None:
    code = (
        "import sys, hwbench; assert 'numpy' not in sys.modules;"
        "t = hwbench.open_table(hwbench.reference_table());"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'sklearn', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
