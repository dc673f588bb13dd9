"""What the tests of the tvm backend share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from backends.tvm import loopback
from backends.tvm.crew import Crew
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


NOTICED_S = 30.0
"""In which a board has noticed that its session has ended, if it ever will."""


@pytest.fixture(scope="session")
def free_farm() -> Iterator[Callable[..., Farm]]:
    """Gives two boards that are at work for nobody: new ones, if one of the last did not survive a session."""
    with contextlib.ExitStack() as running:
        farms: list[Farm] = []

        def give(within_s: float = NOTICED_S) -> Farm:
            with contextlib.suppress(TimeoutError):
                if farms:
                    farms[-1].wait_until_free(within_s)
                    return farms[-1]
            running.close()
            farms.append(running.enter_context(loopback.farm(2, "rpi4")))
            return farms[-1]

        yield give


@pytest.fixture
def farm(free_farm: Callable[..., Farm], monkeypatch: pytest.MonkeyPatch) -> Farm:
    """Two boards that are at work for nobody, shared by tests: none of which may stop, kill or drop one. However
    busy this machine is, its tracker is waited for."""
    monkeypatch.setattr("backends.tvm.backend.CONNECT_S", 60.0)
    return free_farm()


@dataclass
class PatientClock:
    """Time passes at a hundredth of its speed but while one of the crew's two workers is all that is waited for:
    a machine that is busy makes no worker silent, however short a silence is allowed."""

    crew: Crew
    now_s: float = 0.0
    looked_s: float = field(default_factory=time.monotonic)

    def __call__(self) -> float:
        before, self.looked_s = self.looked_s, time.monotonic()
        busy = [worker for worker in self.crew.workers if worker.job is not None]
        pace = 1.0 if len(self.crew.workers) == 2 and len(busy) == 1 else 0.01
        self.now_s += pace * (self.looked_s - before)
        return self.now_s


@pytest.fixture
def make_patient() -> Callable[[Crew], None]:
    """Before its first job: only the last worker that is waited for can be found silent."""

    def give(crew: Crew) -> None:
        crew.clock = PatientClock(crew)

    return give
