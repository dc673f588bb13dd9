"""A tracker and boards on this machine, each a process: to try a farm out, and to test what happens when a board
dies. What is measured on them says nothing: they share this machine's cores."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backends.base import BackendUnavailable
from backends.tvm.address import Address
from backends.tvm.target import TvmTarget

HOST = "127.0.0.1"
START_S = 120.0


@dataclass(frozen=True)
class Farm:
    """A tracker and its servers.

    Args:
        address: of the tracker, as ``--rpc`` takes it.
        key: of its servers.
        servers: processes, each with children of its own.
        ports: of the servers.
    """

    address: str
    key: str
    servers: list[subprocess.Popen[bytes]]
    ports: list[int]

    def signal(self, server: int, number: int) -> None:
        """Send a signal to a server with all that it started."""
        os.killpg(self.servers[server].pid, number)

    def wait_until_free(self, within_s: float = START_S) -> None:
        """Until the tracker has all boards to give away: one takes a moment to notice that a session has ended, and
        never does where the process that served it ended badly, which ends TVM's server, too.

        Raises:
            TimeoutError: one is not free in time.
        """
        host, _, port = self.address.rpartition(":")
        tracker = Address(host, int(port), self.key)
        deadline = time.monotonic() + within_s
        while _count_free(tracker) < len(self.servers):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all of {len(self.servers)} boards were free within {within_s:g} s")
            time.sleep(0.1)


@contextmanager
def farm(servers: int, key: str, environment: Mapping[str, str] | None = None) -> Iterator[Farm]:
    """Start `servers` boards under `key`, with `environment` variables beside ours; all are gone at the end.

    Raises:
        TimeoutError: they did not start.
    """
    port, *ports = _free_ports(1 + servers)
    address = f"{HOST}:{port}"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "torch.py").write_text(NO_TORCH, encoding="utf-8")
        base = {"PYTHONPATH": os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))}
        processes = [_start(base, "rpc_tracker", port)]
        try:
            joins = ("--tracker", address, "--key", key)
            given = {**base, **(environment or {})}
            processes += [_start(given, "rpc_server", p, *joins) for p in ports]
            started = Farm(address, key, processes[1:], ports)
            started.wait_until_free()
            yield started
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


NO_TORCH = 'raise ImportError("the boards do without")\n'
"""TVM's FFI imports torch where it finds it, which takes longer than TVM itself, in each of six processes."""


def _start(
    environment: Mapping[str, str], module: str, port: int, *arguments: str
) -> subprocess.Popen[bytes]:
    ports = ["--host", HOST, "--port", str(port), "--port-end", str(port + 1)]
    return subprocess.Popen(
        [sys.executable, "-m", f"tvm.exec.{module}", *ports, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TVM_NUM_THREADS": "1", **environment},
        start_new_session=True,
    )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def _count_free(tracker: Address) -> int:
    try:
        return tracker.count_free_boards()
    except (BackendUnavailable, ValueError):  # the tracker is not yet there
        return 0


# --- a board that is emulated ---

RPC_MAGIC = 0xFF271


@contextmanager
def emulated_board(target: TvmTarget) -> Iterator[str]:
    """An RPC server on an emulated Arm processor; gives its address, as ``--rpc`` takes it. Everything is as with a
    board, but that times mean nothing.

    Raises:
        BackendUnavailable: the emulation is not set up.
    """
    from backends.tvm.emulator import COMMAND, SOURCES, problem, program

    if reason := problem(target):
        raise BackendUnavailable(f"cannot emulate {target.name}: {reason}")
    server = program(target, SOURCES / "board.cc")
    processes: list[subprocess.Popen[bytes]] = []
    with socket.create_server((HOST, 0)) as listener, tempfile.TemporaryDirectory() as folder:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the listener is closed at the end
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        if _greet(connection):
                            handle = connection.fileno()
                            command = [*COMMAND, str(server), str(handle), folder]
                            processes.append(subprocess.Popen(command, pass_fds=[handle]))

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"{HOST}:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for process in processes:
                process.kill()
                process.wait()


def _greet(connection: socket.socket) -> bool:
    """The opening of TVM's RPC, as a server without a key; false for who only wanted to see whether it answers."""

    def number() -> int:
        data = connection.recv(4, socket.MSG_WAITALL)
        return int.from_bytes(data, "little") if len(data) == 4 else 0

    if number() != RPC_MAGIC:
        return False
    connection.recv(number(), socket.MSG_WAITALL)
    key = b"server:"
    connection.sendall(RPC_MAGIC.to_bytes(4, "little") + len(key).to_bytes(4, "little") + key)
    return True
