"""What the tests of the tvm backend share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tvm_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all tests to keep compiled libraries in: a block is compiled once."""
    return tmp_path_factory.mktemp("tvm_home")


@pytest.fixture(autouse=True)
def own_home(tvm_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's files, or finds them."""
    monkeypatch.setenv("HWBENCH_HOME", str(tvm_home))


@pytest.fixture(scope="session")
def arm64_runtime(tvm_home: Path) -> None:
    """TVM's runtime for aarch64, where the set-up script has put it for the user, in the tests' own place."""
    if find_spec("tvm") is None:
        return
    from backends.tvm.emulator import LIBRARIES, runtime_folder

    there = runtime_folder()
    here = tvm_home / "tvm" / there.name
    here.mkdir(parents=True)
    for name in LIBRARIES:
        if (there / name).exists():
            (here / name).symlink_to(there / name)
