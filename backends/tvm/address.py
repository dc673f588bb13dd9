"""Where a device is."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from backends.base import BackendUnavailable

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
            raise ValueError(f"--rpc is HOST:PORT, not {rpc!r}")
        if key and not rpc:
            raise ValueError("--key is of boards at a tracker: give --rpc HOST:PORT of the tracker, too")
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
