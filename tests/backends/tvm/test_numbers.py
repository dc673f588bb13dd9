"""What compiled blocks compute: right on this machine, and right on emulated Arm processors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest

from backends.base import BackendUnavailable, Settings
from backends.tvm import emulator
from backends.tvm.backend import TvmBackend
from backends.tvm.target import load_target
from compofa.blocks import Block

pytestmark = pytest.mark.needs_tvm

ARM = ("cortex-a53", "raspberry-pi4", "raspberry-pi5")


def mbconv(kernel: int, stride: int, se: bool, act: str, expands: bool = True) -> Block:
    shortcut = stride == 1
    return Block("mbconv", (8, 7, 7), 8, 24 if expands else 8, kernel, stride, se, act, shortcut)


ONE_OF_EACH_KIND = [
    Block("conv", (3, 12, 12), 8, kernel=3, stride=2, act="hswish"),
    mbconv(3, 1, se=False, act="relu", expands=False),
    mbconv(5, 2, se=True, act="hswish"),
    mbconv(7, 1, se=True, act="relu"),
    Block("pool", (16, 3, 3), 16),
    Block("mix", (16, 1, 1), 24, act="hswish"),
    Block("linear", (24, 1, 1), 10),
]
ALL = [
    *ONE_OF_EACH_KIND,
    Block("conv", (8, 5, 5), 16, act="relu"),
    *(mbconv(*sort) for sort in product((3, 5, 7), (1, 2), (False, True), ("relu", "hswish"))),
]


@contextmanager
def backend(target: str) -> Iterator[TvmBackend]:
    some = TvmBackend(Settings(options={"target": target}))
    yield some
    if "_compilers" in vars(some):
        vars(some)["_compilers"].close()


@pytest.fixture
def emulation(arm64_runtime: None) -> None:
    """Skips where there is none, saying what is missing."""
    if reason := emulator.problem(load_target("cortex-a53")):
        pytest.skip(reason)


def test_each_kind_of_block_is_right_on_this_machine() -> None:
    with backend("host") as some:
        verdicts = list(some.verify(ONE_OF_EACH_KIND))
    assert [v.block for v in verdicts] == ONE_OF_EACH_KIND
    assert all(v.error < 1e-5 and v.instructions is None for v in verdicts)


def test_each_kind_of_block_is_right_on_an_emulated_board(emulation: None) -> None:
    with backend("raspberry-pi4") as some:
        first, second = (list(some.verify(ONE_OF_EACH_KIND, emulate=True)) for _ in range(2))
    assert [v.block for v in first] == ONE_OF_EACH_KIND
    assert all(v.error < 1e-5 for v in first)
    assert first == second, "numbers and instruction counts are the same from run to run"
    counts = [v.instructions for v in first]
    if None not in counts:  # QEMU without plug-ins
        assert all(
            count > verdict.block.macs / 8 for count, verdict in zip(counts, first, strict=True) if count
        )


@pytest.mark.slow
@pytest.mark.parametrize("target", ["host", *ARM])
def test_every_sort_of_block_is_right_everywhere(target: str, emulation: None) -> None:
    with backend(target) as some:
        verdicts = list(some.verify(ALL, emulate=target in ARM))
    assert [v.block for v in verdicts] == ALL
    assert all(v.error < 1e-5 for v in verdicts)


def test_what_cannot_be_emulated_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        backend("host") as some,
        pytest.raises(BackendUnavailable, match="only aarch64-linux-gnu is emulated"),
    ):
        list(some.verify(ONE_OF_EACH_KIND, emulate=True))
    monkeypatch.setattr(emulator, "QEMU", "qemu-nothing")
    monkeypatch.setattr(emulator.shutil, "which", lambda name: None if "qemu" in name else name)
    reason = emulator.problem(load_target("cortex-a53"))
    assert reason == "qemu-nothing is not there: run scripts/setup_arm64_emulation"
