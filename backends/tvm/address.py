"""Where a device is."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from backends.base import BackendUnavailable
from compofa.errors import InputError
from compofa.files import parse_json

CONNECT_S = 5.0
T = TypeVar("T")


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
        if rpc and not (host and colon and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
            raise InputError(f"--rpc is HOST:PORT, not {rpc[:100]!r}")
        if key and not rpc:
            raise InputError("--key is of boards at a tracker: give --rpc HOST:PORT of the tracker, too")
        return cls(host, int(port), key) if rpc else cls()

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" + (f" (key {self.key})" if self.key else "")

    def check_reachable(self, within_s: float = CONNECT_S) -> None:
        """Raise BackendUnavailable, with the remedy, unless something takes a connection there in time."""
        try:
            socket.create_connection((self.host, self.port), timeout=within_s).close()
        except (OSError, UnicodeError) as error:  # UnicodeError: of a name that cannot be one
            what = "tracker" if self.key else "RPC server"
            why = getattr(error, "strerror", None) or error
            raise BackendUnavailable(
                f"cannot reach the {what} at {self.host}:{self.port}: {why}; start it as docs/tvm.md says"
            ) from error

    def count_boards(self, within_s: float = CONNECT_S) -> int:
        """How many boards the tracker has under the key; asked without TVM, which takes seconds to import.

        Args:
            within_s: in which it has to have said all.

        Raises:
            BackendUnavailable: the tracker cannot be reached, or is silent.
            InputError: it is none, or has no such board; says which keys it has.
        """
        keys = self._ask(Deadline(within_s), _keys)
        if self.key not in keys:
            there = f"there are {', '.join(sorted(set(keys)))}" if keys else "none is registered"
            raise InputError(f"no board has the key {self.key!r} at tracker {self.host}:{self.port}; {there}")
        return keys.count(self.key)

    def count_free_boards(self) -> int:
        """How many boards under the key the tracker would give away at once: one that serves somebody, or has not
        yet noticed that he is gone, is registered but not free.

        Raises:
            BackendUnavailable, InputError: as for :meth:`count_boards`; no board under the key is 0.
        """
        return self._ask(
            Deadline(CONNECT_S), lambda summary: int(summary["queue_info"].get(self.key, {}).get("free", 0))
        )

    def _ask(self, deadline: Deadline, read: Callable[[Any], T]) -> T:
        """What `read` finds in the tracker's summary, by the protocol of ``tvm.rpc.tracker``."""
        self.check_reachable(deadline.left_s())
        try:
            with socket.create_connection((self.host, self.port), timeout=deadline.left_s()) as connection:
                connection.sendall(_number(TRACKER_MAGIC))
                if _receive(connection, 4, deadline) != _number(TRACKER_MAGIC):
                    raise InputError("another protocol")
                question = json.dumps([SUMMARY]).encode()
                connection.sendall(_number(len(question)) + question)
                size = int.from_bytes(_receive(connection, 4, deadline), "little")
                if size > LARGEST_ANSWER:
                    raise InputError("another protocol")
                _, summary = parse_json(_receive(connection, size, deadline))
                return read(summary)
        except TimeoutError as error:
            raise BackendUnavailable(
                f"what is at {self.host}:{self.port} did not answer within {deadline.within_s:g} s: is it a tracker?"
            ) from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.host}:{self.port} is no TVM tracker; without --key, --rpc is the address of an RPC server"
            ) from error


class Deadline:
    """A time by which several steps have to be done, together."""

    def __init__(self, within_s: float) -> None:
        self.within_s = within_s
        self._end_s = time.monotonic() + within_s

    def left_s(self) -> float:
        """Seconds that are left.

        Raises:
            TimeoutError: none.
        """
        if (left := self._end_s - time.monotonic()) <= 0:
            raise TimeoutError
        return left


TRACKER_MAGIC = 0x2F271
SUMMARY = 6
LARGEST_ANSWER = 1 << 20


def _keys(summary: Any) -> list[str]:
    """The key of each board that is registered."""
    return [str(server["key"]).removeprefix("server:") for server in summary["server_info"]]


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _receive(connection: socket.socket, size: int, deadline: Deadline) -> bytes:
    """`size` bytes, in however many pieces they come."""
    data = b""
    while len(data) < size:
        connection.settimeout(deadline.left_s())
        piece = connection.recv(size - len(data))
        if not piece:
            raise OSError("the connection was closed")
        data += piece
    return data
