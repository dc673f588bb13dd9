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
from pathlib import Path
from typing import IO

from backends.tensorrt.build import Request
from compofa.errors import RunFailed

COMMAND = (sys.executable, "-m", "backends.tensorrt.build")


class BuildFailed(RunFailed):
    """An engine could not be built; says why."""


class Builder:
    """Sends requests to a building process, one at a time; a context manager.

    Args:
        timeout_s: for one engine; a process that takes longer is ended.
        command: that starts the process; it gets a file descriptor as its last argument.
    """

    def __init__(self, timeout_s: float, command: Sequence[str] = COMMAND) -> None:
        self.timeout_s, self.command = timeout_s, tuple(command)
        self._process: subprocess.Popen[str] | None = None
        self._answers: IO[str] | None = None
        self._log: IO[bytes] | None = None

    def build(self, request: Request) -> None:
        """Have an engine built, checked and written.

        Raises:
            BuildFailed: TensorRT cannot, or its process crashed or took too long.
        """
        answer = json.loads(self._ask(request.line()))
        if not answer["ok"]:
            raise BuildFailed(answer["error"])

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
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
            ready, _, _ = select.select([answers], [], [], self.timeout_s)
            if not ready:
                raise BuildFailed(f"the build took longer than {self.timeout_s:g} s")
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
                    [*self.command, str(theirs)],
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
        assert self._log is not None
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        self.close()
        return f"the building process {how}" + (f": {lines[-1].strip()[:300]}" if lines else "")


def request_files(folder: Path, model: bytes) -> tuple[Path, Path]:
    """Files in `folder` for a model, which is written, and for its plan."""
    source = folder / "model.onnx"
    source.write_bytes(model)
    return source, folder / "model.plan"
