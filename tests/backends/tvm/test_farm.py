"""Boards over TVM's RPC: here, servers on the loopback interface, with and without a tracker, some of which die."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.base import BackendUnavailable, Settings
from backends.measuring.timing import TimingSettings
from backends.tvm import emulator, loopback
from backends.tvm.backend import TvmBackend
from backends.tvm.crew import Crew
from backends.tvm.library import compile_cpp
from backends.tvm.loopback import Farm
from backends.tvm.target import load_target
from compofa.blocks import Block

pytestmark = pytest.mark.needs_tvm

QUICK = TimingSettings(rounds=3, rotation=4, max_warmup_ms=5.0)
KEY = "rpi4"


def linear(count: int) -> list[Block]:
    """Blocks that compile quickly."""
    return [Block("linear", (8, 1, 1), 8 + i) for i in range(count)]


def backend(farm: Farm, key: str = KEY, **options: str) -> TvmBackend:
    settings = Settings(options={"rpc": farm.address, "key": key, **options})
    return TvmBackend(settings, block_timing=QUICK, network_timing=QUICK)


def test_boards_share_the_blocks_and_one_that_hangs_is_dropped(
    make_patient: Callable[[Crew], None], caplog: pytest.LogCaptureFixture
) -> None:
    """One of two servers is stopped before it measures: it neither answers nor closes its connections."""
    blocks = linear(6)
    with loopback.farm(2, KEY) as own:
        some = backend(own, timeout="1")
        make_patient(some.boards)
        first = some.block_latencies(blocks)
        assert len(first) == 6 and all(m.latency_ms > 0 and m.origin == "measured" for m in first)
        while not all(worker.ready for worker in some.boards.workers):
            # One did all of it while the other started.
            some.block_latencies(blocks)
        assert len(some.boards.workers) == 2
        own.signal(0, signal.SIGSTOP)
        found = [block for batch in some.as_they_come(blocks) for block, _ in batch.entries]
        some.boards.close()
        assert sorted(found, key=str) == sorted(blocks, key=str)
        (line,) = caplog.messages
        assert re.search(rf"^a board at 127\.0\.0\.1:\d+ \(key {KEY}\) is dropped: gave no sign", line)


def test_a_wrong_key_lists_those_there_are(farm: Farm) -> None:
    with pytest.raises(ValueError, match=rf"no board has the key 'rpi5' at tracker .*; there are {KEY}"):
        backend(farm, key="rpi5").block_latencies(linear(1))


def test_a_tracker_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(
        BackendUnavailable, match=r"cannot reach the tracker at 127.0.0.1:1: Connection refused"
    ):
        TvmBackend(Settings(options={"rpc": "127.0.0.1:1", "key": KEY})).block_latencies(linear(1))


def test_a_server_is_no_tracker(farm: Farm) -> None:
    settings = Settings(options={"rpc": f"127.0.0.1:{farm.ports[0]}", "key": KEY})
    with pytest.raises(
        ValueError, match=r"is no TVM tracker; without --key, --rpc is the address of an RPC server"
    ):
        TvmBackend(settings).block_latencies(linear(1))


OTHER_VERSION = """
extern "C" void TVMFFIGetVersion(unsigned* found) { found[0] = 0; found[1] = 1; found[2] = 99; }
"""
"""In place of the runtime's own answer; everything else of the board is real."""


def test_a_board_with_another_version_is_refused(tmp_path: Path) -> None:
    source, library = tmp_path / "version.cc", tmp_path / "version.so"
    source.write_text(OTHER_VERSION)
    compile_cpp("g++", ["-shared", "-fPIC", str(source)], library)
    with loopback.farm(1, KEY, {"LD_PRELOAD": str(library)}) as other:
        some = backend(other)
        with pytest.raises(
            ValueError,
            match=r"the board at 127\.0\.0\.1:\d+ \(key rpi4\) runs TVM runtime 0\.1\.99, this machine 0\.1\.\d+: "
            r"install the same there \(pip install apache-tvm==\S+ apache-tvm-ffi==\S+\)$",
        ):
            some.block_latencies(linear(1))
        assert some.boards.workers == []


def test_an_arm_board_end_to_end(arm64_runtime: None) -> None:
    """Cross-compiled, uploaded, checked and timed on an emulated Arm processor behind TVM's RPC: all as with a
    board, but that the times mean nothing."""
    target = load_target("raspberry-pi4")
    if reason := emulator.problem(target):
        pytest.skip(reason)
    blocks = [*linear(2), Block("mbconv", (8, 7, 7), 8, 24, 3, act="hswish", se=True, shortcut=True)]
    with loopback.emulated_board(target) as address:
        settings = Settings(options={"target": "raspberry-pi4", "rpc": address})
        some = TvmBackend(settings, block_timing=QUICK, network_timing=QUICK)
        found = some.block_latencies(blocks)
        some.boards.close()
    assert [len(m.rounds_ms) for m in found] == [3, 3, 3]
    assert some.target.device == "Raspberry Pi 4, Cortex-A72"


@pytest.mark.slow
def test_three_boards_sixty_blocks_one_killed(caplog: pytest.LogCaptureFixture) -> None:
    """All are measured once, none is lost."""
    blocks = linear(60)
    with loopback.farm(3, KEY) as some_farm:
        some = backend(some_farm)
        batches = some.as_they_come(blocks)
        found = [block for block, _ in next(batches).entries]
        some_farm.signal(1, signal.SIGKILL)
        found += [block for batch in batches for block, _ in batch.entries]
        assert sorted(found, key=str) == sorted(blocks, key=str)
        # Which of them was killed before it had finished is chance; a second build knows for sure.
        again = [block for batch in some.as_they_come(blocks) for block, _ in batch.entries]
        assert sorted(again, key=str) == sorted(blocks, key=str)
        assert len(some.boards.workers) == 2
        assert re.search("is dropped: went away", caplog.text)
        some.boards.close()


def test_a_board_that_did_not_survive_is_replaced_for_the_next_test(free_farm: Callable[..., Farm]) -> None:
    """As when the process that served a session ended badly: TVM's server is then gone, but for its open port."""
    first = free_farm()
    first.signal(0, signal.SIGKILL)
    while (second := free_farm(1.0)) is first:  # until the tracker has noticed
        time.sleep(0.1)
    assert second.address != first.address
    second.wait_until_free(60.0)
