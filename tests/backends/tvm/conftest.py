"""Most tests here need TVM; without it they are skipped, and say so."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from backends.timing import TimingSettings
from compofa.blocks import Block

QUICK = TimingSettings(rounds=3, max_rounds=3, inner_ms=0.0, max_overhead=1.0, rotation=4, max_warmup_ms=5.0)
"""For tests: the loop is the same, the times mean little."""

SMALL = Block("mbconv", (8, 8, 8), 8, hidden_channels=24, kernel=3, act="relu", shortcut=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "needs_tvm" in item.keywords:
            if find_spec("tvm") is None:
                item.add_marker(pytest.mark.skip(reason="TVM is not installed: pip install 'hwbench[tvm]'"))
            elif shutil.which("g++") is None:
                item.add_marker(pytest.mark.skip(reason="no g++"))


@pytest.fixture(scope="session")
def tvm_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all tests to keep compiled libraries in: a block is compiled once."""
    return tmp_path_factory.mktemp("tvm_home")


@pytest.fixture(autouse=True)
def own_home(tvm_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's files, or finds them."""
    monkeypatch.setenv("HWBENCH_HOME", str(tvm_home))
