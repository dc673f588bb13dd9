"""What ``import hwbench`` gives."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module

import pytest

import hwbench
from hwbench import cli

NAMES = {
    "Arch", "Block", "CostModel", "Family", "HwbenchError", "InputError", "Network", "RunFailed", "Unavailable",
    "build_table", "doctor", "families", "get_family", "get_space", "network", "open_table", "pareto",
    "reference_table", "search", "showing", "specialize", "validate",
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert set(hwbench.__all__) == NAMES
    assert set(dir(hwbench)) >= NAMES
    for name in NAMES:
        assert getattr(hwbench, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'; it has Arch"):
        hwbench.nothing  # noqa: B018


HOMES = sorted({home for home in hwbench._PUBLIC.values() if home.startswith("hwbench")})


@pytest.mark.parametrize("home", HOMES)
def test_every_example_runs(home: str) -> None:
    """And each function has one."""
    module = import_module(home)
    names = [name for name, where in hwbench._PUBLIC.items() if where == home]
    assert all(">>> import hwbench" in getattr(module, name).__doc__ for name in names)
    found = doctest.testmod(module)
    assert found.attempted >= 2 * len(names) and not found.failed


def test_commands_do_not_take_the_place_of_functions() -> None:
    for name in set(hwbench.__all__) & set(cli.COMMANDS):
        command = import_module(f"hwbench.{name}")
        assert command.main and getattr(hwbench, name) is not command


def test_work_is_silent_until_it_is_asked(capfd: pytest.CaptureFixture[str]) -> None:
    def found() -> None:
        hwbench.search(hwbench.reference_table(), space="compofa", latency_ms=[0.2, 1e-6])

    found()
    assert capfd.readouterr() == ("", "")
    with hwbench.showing():
        hwbench.pareto(spaces=["compofa"])
    assert "the shipped reference table" in capfd.readouterr().err


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
