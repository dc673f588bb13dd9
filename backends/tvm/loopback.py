"""A tracker and boards on this machine, each a process: to try a farm out, and to test what happens when a board
dies. What is measured on them says nothing: they share this machine's cores."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

HOST = "127.0.0.1"
START_S = 120.0


@dataclass(frozen=True)
class Farm:
    """A tracker and its servers.

    Args:
        address: of the tracker, as ``--rpc`` takes it.
        servers: processes, each with children of its own.
        ports: of the servers.
    """

    address: str
    servers: list[subprocess.Popen[bytes]]
    ports: list[int]

    def signal(self, server: int, number: int) -> None:
        """Send a signal to a server with all that it started."""
        os.killpg(self.servers[server].pid, number)


@contextmanager
def farm(servers: int, key: str) -> Iterator[Farm]:
    """Start `servers` boards under `key`; all are gone at the end.

    Raises:
        TimeoutError: they did not start.
    """
    port, *ports = _free_ports(1 + servers)
    address = f"{HOST}:{port}"
    processes = [_start("rpc_tracker", port)]
    try:
        processes += [_start("rpc_server", p, "--tracker", address, "--key", key) for p in ports]
        deadline = time.monotonic() + START_S
        while not all(map(_listening, [port, *ports])):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the tracker and {servers} servers did not start in {START_S:g} s")
            time.sleep(0.1)
        yield Farm(address, processes[1:], ports)
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(module: str, port: int, *arguments: str) -> subprocess.Popen[bytes]:
    ports = ["--host", HOST, "--port", str(port), "--port-end", str(port + 1)]
    return subprocess.Popen(
        [sys.executable, "-m", f"tvm.exec.{module}", *ports, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TVM_NUM_THREADS": "1"},
        start_new_session=True,
    )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
