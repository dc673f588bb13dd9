"""Boards over TVM's RPC: here, servers on the loopback interface, with and without a tracker, some of which die."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backends.base import BackendUnavailable, Settings
from backends.timing import TimingSettings
from backends.tvm.backend import TvmBackend
from compofa.blocks import Block

pytestmark = pytest.mark.needs_tvm

QUICK = TimingSettings(rounds=3, max_rounds=3, inner_ms=0.0, max_overhead=1.0, rotation=4, max_warmup_ms=5.0)
KEY = "rpi4"


def linear(count: int) -> list[Block]:
    """Blocks that compile quickly."""
    return [Block("linear", (8, 1, 1), 8 + i) for i in range(count)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Farm:
    """A tracker and its servers, each a process with children of its own."""

    port: int
    tracker: subprocess.Popen[str]
    servers: list[subprocess.Popen[str]]

    def signal(self, server: int, number: int) -> None:
        """To the server with all that it started."""
        os.killpg(self.servers[server].pid, number)


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"tvm.exec.{module}", "--host", "127.0.0.1", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def make_farm(servers: int) -> Farm:
    port = free_port()
    tracker = start("rpc_tracker", "--port", str(port), "--port-end", str(port + 1))
    ports = [free_port() for _ in range(servers)]
    address = f"127.0.0.1:{port}"
    processes = [
        start("rpc_server", "--port", str(p), "--port-end", str(p + 1), "--tracker", address, "--key", KEY)
        for p in ports
    ]
    wait_until(lambda: listening(port) and all(map(listening, ports)))
    return Farm(port, tracker, processes)


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    """Two servers; each test that ends one starts its own farm."""
    some = make_farm(2)
    yield some
    for process in (some.tracker, *some.servers):
        stop(process)


def backend(farm: Farm, key: str = KEY, **options: str) -> TvmBackend:
    settings = Settings(options={"rpc": f"127.0.0.1:{farm.port}", "key": key, **options})
    return TvmBackend(settings, block_timing=QUICK, network_timing=QUICK)


def test_boards_share_the_blocks_and_one_that_hangs_is_dropped(
    farm: Farm, caplog: pytest.LogCaptureFixture
) -> None:
    """One of two servers is stopped while it measures: it neither answers nor closes its connections."""
    some = backend(farm, timeout="8")
    blocks = linear(6)
    first = some.block_latencies(blocks)
    assert len(first) == 6 and all(m.latency_ms > 0 and m.origin == "measured" for m in first)
    assert len(some.boards.workers) == 2
    farm.signal(0, signal.SIGSTOP)
    try:
        found = [block for batch, _ in some.as_they_come(blocks) for block in batch]
    finally:
        farm.signal(0, signal.SIGCONT)
    assert sorted(found, key=str) == sorted(blocks, key=str)
    assert len(some.boards.workers) == 1
    assert re.search(
        rf"a board at 127\.0\.0\.1:{farm.port} \(key {KEY}\) is dropped: gave no sign of life", caplog.text
    )
    some.boards.close()


def test_a_wrong_key_lists_those_there_are(farm: Farm) -> None:
    with pytest.raises(ValueError, match=rf"no board has the key 'rpi5' at tracker .*; there are {KEY}"):
        backend(farm, key="rpi5").block_latencies(linear(1))


def test_a_tracker_that_is_not_there_is_unavailable() -> None:
    settings = Settings(options={"rpc": f"127.0.0.1:{free_port()}", "key": KEY})
    with pytest.raises(
        BackendUnavailable, match=r"cannot reach the tracker at 127.0.0.1:\d+: Connection refused"
    ):
        TvmBackend(settings).block_latencies(linear(1))


@pytest.mark.slow
def test_three_boards_sixty_blocks_one_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """All are measured once, none is lost."""
    farm = make_farm(3)
    try:
        some = backend(farm, timeout="20")
        blocks = linear(60)
        batches = some.as_they_come(blocks)
        found = list(next(batches)[0])
        farm.signal(1, signal.SIGKILL)
        found += [block for batch, _ in batches for block in batch]
        assert sorted(found, key=str) == sorted(blocks, key=str)
        some.boards.close()
    finally:
        for process in (farm.tracker, *farm.servers):
            stop(process)
