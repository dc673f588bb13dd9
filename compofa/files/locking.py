"""One process writes a file at a time, and what was written reaches the disk."""

from __future__ import annotations

import os
from pathlib import Path

from compofa.errors import RunFailed

try:
    import fcntl
except ImportError:  # not on Windows: there, nobody is kept from writing a file that another writes
    fcntl = None  # type: ignore[assignment]


class FileBusy(RunFailed):
    """Another process is writing the file."""


def lock(handle: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileBusy(
            f"{path} is being written by another process; wait for it, or choose another file"
        ) from None


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
