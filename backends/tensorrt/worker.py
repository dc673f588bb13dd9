"""The parent's side of :mod:`backends.tensorrt.build`: one process that builds, replaced when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Self

from backends.tensorrt.build import Answer, Request
from backends.tensorrt.library import Library
from compofa.errors import RunFailed


def build_command(library: Library, device: str) -> tuple[str, ...]:
    """What starts a building process, but for its file descriptor; `device` is ``gpu``, or ``host`` where engines
    are built for another machine."""
    return (sys.executable, "-m", "backends.tensorrt.build", "{answers}", library.runtime, device)


LOG_TAIL = 4096
"""Bytes of what a building process printed that are looked at."""


class BuildFailed(RunFailed):
    """An engine could not be built, or computes something else; says why."""


class BuildRefused(BuildFailed):
    """The library has no way to run the graph on that GPU; its own words."""


class CannotKeep(RunFailed):
    """An engine was built, but could not be written."""


class Builder:
    """Sends requests to a building process, one at a time; a context manager.

    Args:
        timeout_s: for one engine; a process that takes longer is ended.
        command: that starts the process; ``{answers}`` in it becomes the file descriptor for the answers.
    """

    def __init__(self, timeout_s: float, command: Sequence[str]) -> None:
        self.timeout_s, self.command = timeout_s, tuple(command)
        self._process: subprocess.Popen[str] | None = None
        self._answers: IO[str] | None = None
        self._log: IO[bytes] | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def build(self, request: Request) -> bool:
        """Have an engine built, unless it is there, checked and written; returns whether it was built now.

        Raises:
            BuildRefused: the library has no way to run the graph.
            BuildFailed: the process crashed or took too long, or the engine is wrong.
            CannotKeep: it cannot be written.
        """
        answer = Answer(**json.loads(self._ask(request.line())))
        if answer.unwritable:
            raise CannotKeep(
                f"engines cannot be kept in {request.engines.folder}: {answer.error}; make room there, or choose "
                "another folder"
            )
        if answer.error:
            raise (BuildRefused if answer.refused else BuildFailed)(answer.error)
        return answer.built

    def stop(self) -> None:
        """End the process from another thread: what is being built fails, and nothing more is."""
        self._stopped = True
        if process := self._process:
            process.kill()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for file in (self._answers, self._log, self._process and self._process.stdin):
            if file:
                with contextlib.suppress(BrokenPipeError):  # what it had no time to read
                    file.close()
        self._process = self._answers = self._log = None

    def _ask(self, line: str) -> str:
        process, answers = self._start()
        try:
            if self._stopped:
                raise BuildFailed("building was stopped")
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
            ready, _, _ = select.select([answers], [], [], self.timeout_s)
            if not ready:
                raise BuildFailed(f"the build took longer than {self.timeout_s:g} s{self._last_words()}")
            if answer := answers.readline():
                return answer
            raise BuildFailed(self._epitaph(process.wait(self.timeout_s)))
        except BrokenPipeError:
            raise BuildFailed(self._epitaph(process.wait(self.timeout_s))) from None
        except BaseException:
            self.close()
            raise

    def _start(self) -> tuple[subprocess.Popen[str], IO[str]]:
        if self._process is None or self._answers is None:
            ours, theirs = os.pipe()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115
            try:
                self._process = subprocess.Popen(
                    [part.format(answers=theirs) for part in self.command],
                    stdin=subprocess.PIPE,
                    stdout=self._log,
                    stderr=self._log,
                    pass_fds=(theirs,),
                    text=True,
                    # Ctrl-C is for the parent, which then ends this process.
                    start_new_session=True,
                )
            finally:
                os.close(theirs)
            self._answers = os.fdopen(ours)
        return self._process, self._answers

    def _epitaph(self, status: int) -> str:
        """Why the process died, with the last it said."""
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        said = self._last_words()
        self.close()
        return f"the building process {how}{said}"

    def _last_words(self) -> str:
        """Of what the process printed, the last line."""
        assert self._log is not None
        handle = self._log.fileno()  # shared with the process, so its position is left alone
        end = os.fstat(handle).st_size
        lines = (
            os.pread(handle, LOG_TAIL, max(end - LOG_TAIL, 0)).decode(errors="replace").strip().splitlines()
        )
        return f": {lines[-1].strip()[:300]}" if lines else ""
