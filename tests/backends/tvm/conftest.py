"""What the tests of the tvm backend share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from backends.tvm import loopback
from backends.tvm.loopback import Farm


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


@pytest.fixture(scope="session")
def farm() -> Iterator[Farm]:
    """Two boards, which take seconds to start; a test leaves them as it found them."""
    with loopback.farm(2, "rpi4") as some:
        yield some
