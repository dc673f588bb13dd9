"""An address is checked when it is read, and whatever answers there has one deadline for all it has to say."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from backends.base import BackendUnavailable, Settings
from backends.tvm.address import SUMMARY, TRACKER_MAGIC, Address
from compofa.errors import InputError

Talk = Callable[[socket.socket], None]
SUMMARY_TEXT = json.dumps(
    [0, {"server_info": [{"key": "server:rpi4"}, {"key": "server:rpi4"}, {"key": "server:rpi5"}]}]
).encode()


@pytest.fixture
def serve() -> Iterator[Callable[[Talk], Address]]:
    """Starts a server that talks to each connection as it is told; gives its address, as of a tracker."""
    with contextlib.ExitStack() as stack:

        def start(talk: Talk) -> Address:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def loop() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        threading.Thread(target=one, args=(connection,), daemon=True).start()

            def one(connection: socket.socket) -> None:
                with contextlib.suppress(OSError, ValueError), connection:
                    talk(connection)

            threading.Thread(target=loop, daemon=True).start()
            return Address("127.0.0.1", listener.getsockname()[1], "rpi4")

        yield start


def tracker(connection: socket.socket, pieces: int = 1, pause_s: float = 0.0) -> None:
    """What TVM's tracker says, in so many pieces."""
    connection.sendall(connection.recv(4))
    size = int.from_bytes(connection.recv(4), "little")
    assert json.loads(connection.recv(size)) == [SUMMARY]
    answer = len(SUMMARY_TEXT).to_bytes(4, "little") + SUMMARY_TEXT
    step = -(-len(answer) // pieces)
    for start in range(0, len(answer), step):
        connection.sendall(answer[start : start + step])
        time.sleep(pause_s)


@pytest.mark.parametrize(("pieces", "pause_s"), [(1, 0.0), (2, 0.1), (len(SUMMARY_TEXT) + 4, 0.001)])
def test_a_tracker_may_answer_in_pieces(
    pieces: int, pause_s: float, serve: Callable[[Talk], Address]
) -> None:
    address = serve(lambda connection: tracker(connection, pieces, pause_s))
    assert address.count_boards(within_s=60) == 2
    with pytest.raises(InputError, match=r"no board has the key 'x' at .*; there are rpi4, rpi5"):
        Address(address.host, address.port, "x").count_boards(within_s=60)


def silent(connection: socket.socket) -> None:
    connection.recv(4)
    connection.recv(1)  # until the other end has left


def dripping(connection: socket.socket) -> None:
    """Never ends by itself."""
    for byte in itertools.cycle(TRACKER_MAGIC.to_bytes(4, "little")):
        connection.sendall(bytes([byte]))
        time.sleep(0.2)


def slow(connection: socket.socket) -> None:
    """All of the answer, in four times as long as there is time, though never silent for as long."""
    tracker(connection, 40, 0.05)


@pytest.mark.parametrize("talk", [silent, dripping, slow])
def test_one_deadline_holds_for_all_that_is_said(talk: Talk, serve: Callable[[Talk], Address]) -> None:
    with pytest.raises(BackendUnavailable, match=r"did not answer within 0.5 s"):
        serve(talk).count_boards(within_s=0.5)


def says(*parts: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        for part in parts:
            connection.recv(64)
            connection.sendall(part)
        connection.recv(64)

    return talk


MAGIC = TRACKER_MAGIC.to_bytes(4, "little")


def answer(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


@pytest.mark.parametrize(
    "talk",
    [
        lambda connection: None,
        says(b"HTTP/1.1 400 Bad Request"),
        says(MAGIC, (2**32 - 1).to_bytes(4, "little")),
        says(MAGIC, answer(b"[" * 100_000)),
        says(MAGIC, answer(b"\xff\xfe")),
        *(
            says(MAGIC, answer(json.dumps(value).encode()))
            for value in (None, [], [0], [0, None], [0, {"server_info": 5}], [0, {"server_info": [{}]}], {"a": 1})
        ),
    ],
)  # fmt: skip
def test_what_is_no_tracker_is_told(talk: Talk, serve: Callable[[Talk], Address]) -> None:
    with pytest.raises(InputError, match="is no TVM tracker; without --key"):
        serve(talk).count_boards(within_s=60)


@pytest.mark.parametrize(
    "text", ["x", ":1", "a:", "a:0", "a:65536", "a:-1", "a:1x", "a:\u0663", "a:" + "9" * 5000]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--rpc is HOST:PORT") as refused:
        Address.parse(text, "")
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "a..b", "\udcff"])
def test_a_host_that_cannot_be_reached_is_unavailable(host: str) -> None:
    with pytest.raises(BackendUnavailable, match="cannot reach the RPC server at"):
        Address.parse(f"{host}:9090", "").check_reachable(within_s=2)


@pytest.mark.slow
@pytest.mark.needs_tvm
def test_a_silent_server_is_left_after_the_time_that_was_given(serve: Callable[[Talk], Address]) -> None:
    pytest.importorskip("tvm")
    from backends.tvm.backend import TvmBackend
    from backends.tvm.crew import Lost

    address = serve(lambda connection: time.sleep(60))
    backend = TvmBackend(Settings(options={"rpc": f"{address.host}:{address.port}", "timeout": "2"}))
    with pytest.raises(Lost, match=r"gave no sign of life for \d+ s"):
        list(backend.boards.run([None]))
