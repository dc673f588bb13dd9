"""Where a device is."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass

from backends.base import BackendUnavailable
from compofa.errors import InputError

CONNECT_S = 5.0


@dataclass(frozen=True)
class Address:
    """Where a device is.

    Args:
        host, port: of a TVM RPC server, or of a tracker; empty and 0 for this machine.
        key: that boards registered with the tracker under; empty for a server without a tracker.
    """

    host: str = ""
    port: int = 0
    key: str = ""

    @classmethod
    def parse(cls, rpc: str, key: str) -> Address:
        """From the options ``--rpc HOST:PORT`` and ``--key KEY``.

        Raises:
            ValueError: `rpc` is not of that form, or there is a key but no tracker.
        """
        host, colon, port = rpc.rpartition(":")
        if rpc and not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
            raise InputError(f"--rpc is HOST:PORT, not {rpc!r}")
        if key and not rpc:
            raise InputError("--key is of boards at a tracker: give --rpc HOST:PORT of the tracker, too")
        return cls(host, int(port), key) if rpc else cls()

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" + (f" (key {self.key})" if self.key else "")

    def check_reachable(self) -> None:
        """Raise BackendUnavailable, with the remedy, unless something answers there."""
        try:
            socket.create_connection((self.host, self.port), timeout=CONNECT_S).close()
        except OSError as error:
            what = "tracker" if self.key else "RPC server"
            raise BackendUnavailable(
                f"cannot reach the {what} at {self.host}:{self.port}: {error.strerror or error}; start it as "
                "docs/tvm.md says"
            ) from error

    def count_boards(self) -> int:
        """How many boards the tracker has under the key; asked without TVM, which takes seconds to import.

        Raises:
            BackendUnavailable: the tracker cannot be reached.
            ValueError: it is none, or has no such board; says which keys it has.
        """
        keys = self._registered()
        if self.key not in keys:
            there = f"there are {', '.join(sorted(set(keys)))}" if keys else "none is registered"
            raise InputError(f"no board has the key {self.key!r} at tracker {self.host}:{self.port}; {there}")
        return keys.count(self.key)

    def _registered(self) -> list[str]:
        """The key of each board at the tracker, by the protocol of ``tvm.rpc.tracker``."""
        self.check_reachable()
        try:
            with socket.create_connection((self.host, self.port), timeout=CONNECT_S) as connection:
                connection.sendall(_number(TRACKER_MAGIC))
                if _receive(connection, 4) != _number(TRACKER_MAGIC):
                    raise OSError("another protocol")
                question = json.dumps([SUMMARY]).encode()
                connection.sendall(_number(len(question)) + question)
                size = int.from_bytes(_receive(connection, 4), "little")
                _, summary = json.loads(_receive(connection, size))
                return [server["key"].removeprefix("server:") for server in summary["server_info"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.host}:{self.port} is no TVM tracker; without --key, --rpc is the address of an RPC server"
            ) from error


TRACKER_MAGIC = 0x2F271
SUMMARY = 6


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _receive(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise OSError("the connection was closed")
    return data
