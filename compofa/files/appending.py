"""Files of lines that only grow."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from compofa.files.locking import lock, sync


class ClosedAtEnd(ABC):
    """A context manager that ends by :meth:`close`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AppendFile(ClosedAtEnd):
    """A file of lines, open for adding to it; a context manager. Whoever has it open holds the lock of
    ``flock(2)``, which ends with the process.

    Args:
        path: the file, made if it is not there; its folder must exist.

    Attributes:
        content: the whole lines that it holds, each with its newline.
        torn: what stands after the last of them: the first part of a line that was being written when its writer
            was killed. It goes when something is added.

    Raises:
        FileBusy: another process is writing the file.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._file = self._open()
        try:
            content = self.path.read_bytes()
            end = content.rfind(b"\n") + 1
            self.content, self.torn = content[:end], content[end:]
        except BaseException:
            self.close()
            raise

    def _open(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                lock(handle, self.path)
                # Whoever replaced the file between the two calls left us the lock of what is there no more.
                if os.path.samestat(os.fstat(handle), os.stat(self.path)):
                    return handle
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def append(self, lines: bytes) -> None:
        """Add `lines`, each with its newline; when this returns they are on the disk.

        Raises:
            OSError: they could not be written (the disk is full); the file is as it was before.
        """
        end = len(self.content)
        try:
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
            left = lines
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
            if not end:
                sync(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, end)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.content, self.torn = self.content + lines, b""

    def close(self) -> None:
        """Close the file and with it the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove_below(self, lines: int) -> None:
        """Remove the file if it holds fewer whole lines. It is looked at anew: Ctrl-C may have come when something
        was on the disk and not yet known here."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.read_bytes().count(b"\n") < lines:
                self.path.unlink()
