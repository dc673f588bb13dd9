"""What a command says goes to stdout, what it says about itself to stderr; either may be closed, full or gone."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

READER_GONE = 141
"""The exit code where the reader of a pipe went away: 128 + SIGPIPE, as of any other program."""
STDOUT = "stdout"


class _Stdout(io.FileIO):
    """File descriptor 1; its errors say whose they are."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, STDOUT) from None


@contextlib.contextmanager
def named_stdout() -> Iterator[None]:
    """While it lasts, an error of writing to stdout has :data:`STDOUT` for its file's name."""
    before = sys.stdout
    if before is not sys.__stdout__ or not isinstance(before, io.TextIOWrapper):  # somebody else's
        yield
        return
    before.flush()
    text = io.TextIOWrapper(
        io.BufferedWriter(_Stdout(before.fileno(), "w", closefd=False)),
        encoding=before.encoding,
        errors=before.errors if before.encoding.lower() == "utf-8" else "backslashreplace",
        line_buffering=before.line_buffering,
    )
    sys.stdout = text
    try:
        yield
    finally:
        sys.stdout = before
        with contextlib.suppress(OSError):
            text.detach().detach()


def trouble() -> str | None:
    """Why nothing can be said; None if it can. A closed stdin or stderr is replaced by nowhere: the next file to be
    opened would take its number, and what a library prints would go into that file."""
    closed = sys.stdout is None
    with contextlib.suppress(OSError):
        while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(handle, True)
        os.close(handle)
    return "stdout is closed: send it to a file or to /dev/null" if closed else None


def tell(message: str) -> None:
    """Print a line for people, on stderr; nowhere if there is none any more."""
    if sys.stderr is not None:  # print() would take None for stdout
        with contextlib.suppress(OSError):
            print(message, file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """`text` with whatever cannot be printed (control characters, bytes of a file name that are no text) as an
    escape: a name from a file must not command the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
