"""What TVM raises, in one line: its messages hold tracebacks of several languages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from backends.base import CannotRun


def first_line(error: Exception) -> str:
    """Of the message; the name of the class if there is none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def last_line(error: Exception) -> str:
    """The class, and the line with which its message ends."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"


@contextmanager
def refused_by_tvm() -> Iterator[None]:
    """What TVM's compiler raises is of the network: it becomes CannotRun. A full disk is not."""
    try:
        yield
    except (OSError, MemoryError, CannotRun):
        raise
    except Exception as error:
        raise CannotRun(f"TVM cannot compile it: {last_line(error)}") from error
