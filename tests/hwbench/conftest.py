"""One small table, measured once on this machine for all the tests of the commands."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from commands import build_lut

from backends.measuring.timing import TimingSettings
from backends.onnxruntime_cpu import OnnxRuntimeBackend
from compofa.spaces.registry import GLYPHS
from compofa.stopping import SIGNALS


@pytest.fixture(scope="session", autouse=True)
def quick_timing() -> Iterator[None]:
    """Tests of commands ask what becomes of a measurement, not how good it is: that is a matter of the backends'
    own tests, which keep the default timing, as do commands that run in a process of their own."""
    few = TimingSettings(rounds=4, max_warmup_ms=5.0)
    quick = {
        "block_timing": replace(few, rotation=24, round_ms=0.5),
        "network_timing": replace(few, rotation=1, round_ms=4.0),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxRuntimeBackend.__init__, "__kwdefaults__", quick)
        yield


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, quick_timing: None) -> Path:
    """A finished table of CompOFA on glyphs at the smallest resolution."""
    path = tmp_path_factory.mktemp("built") / "t.jsonl"
    smallest = str(min(GLYPHS.resolutions))
    assert build_lut.main(["--space", "compofa", "--resolutions", smallest, "--out", str(path)]) == 0
    return path


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy of that table, to be changed."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(built.read_bytes())
    return path


@pytest.fixture(scope="session")
def instead() -> Callable[[list[str], list[str]], list[str]]:
    """Gives arguments, ``--name value`` each, in which some take the place of others of the same name."""

    def replaced(arguments: list[str], some: list[str]) -> list[str]:
        pairs = zip(arguments[::2], arguments[1::2], strict=True)
        return [part for name, value in pairs if name not in some for part in (name, value)] + some

    return replaced


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A command that was told to end leaves the signals deaf: its process ends, too. This one does not."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
