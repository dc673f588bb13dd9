"""Ctrl-C, ``kill`` and a closed terminal end a command in the same way.

While :func:`interrupting` lasts, SIGTERM and SIGHUP raise KeyboardInterrupt as SIGINT does, so that whatever saves on
Ctrl-C saves on all three. Work that must not be cut in two puts itself under :func:`deferred`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # no SIGHUP on Windows


class Stop:
    """The signal that asked for the end.

    Attributes:
        number: of the first one that came; None before.
        heeding: whether further ones are listened to.
    """

    number: int | None = None
    heeding = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler. What comes after the first is ignored while things are saved (``timeout`` sends SIGTERM
        twice), but for a second Ctrl-C: whoever sits there has waited long enough."""
        again = self.number is not None
        if self.number is None:
            self.number = number
        if self.heeding and (not again or number == signal.SIGINT):
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as a shell says it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + (self.number or signal.SIGINT)


@contextlib.contextmanager
def interrupting() -> Iterator[Stop]:
    """Each of :data:`SIGNALS` raises KeyboardInterrupt, but for those that are ignored (``nohup``) or that somebody
    else has a handler for."""
    stop = Stop()
    free = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in _ours()}
    for number in before:
        if before[number] in free:
            signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number in before:
            if stop.number is None:
                signal.signal(number, before[number])
            elif number != signal.SIGINT and before[number] in free:
                # The process is about to end: what still comes must not end it otherwise, not even while Python itself
                # goes, which puts the system's handlers back in the place of ours.
                signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def deferred(message: str = "") -> Iterator[Callable[[], bool]]:
    """The signals wait until the block ends, and are heeded then; gives a function that says whether one came, to ask
    between two steps. Those that are ignored stay so.

    Args:
        message: a line for stderr, written when the first one comes.
    """
    came: list[int] = []
    current = {number: signal.getsignal(number) for number in _ours()}
    handlers = {int(number): handler for number, handler in current.items() if callable(handler)}

    def note(number: int, frame: FrameType | None) -> None:
        if message and not came:
            with contextlib.suppress(OSError):  # not print, which is not made for signal handlers
                os.write(2, f"{message}\n".encode())
        came.append(number)

    for number in handlers:
        signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        handlers[came[0]](came[0], None)


def leave_to_parent() -> None:
    """For processes of `multiprocessing`: whoever started them ends them, and so does its death."""
    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed tells nobody, and its worker would wait for the next thing to do for ever."""
    from multiprocessing import parent_process  # here: commands that start no process need not load it

    parent = parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _ours() -> tuple[signal.Signals, ...]:
    """The signals that can be handled here: only the main thread may."""
    return SIGNALS if threading.current_thread() is threading.main_thread() else ()
