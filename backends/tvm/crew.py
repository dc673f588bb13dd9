"""Child processes that do the work that can crash or hang: compiling, tuning, and measuring on a board each.

A worker is told once what it is, then gets one job after the other. It gives a sign of life after each step; one
that gives none for too long is killed. A job whose worker died goes to another: it is done once, or not at all. One
that cannot be done is told from a worker that cannot work: the others go on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from backends.base import BackendUnavailable, CannotRun
from backends.tvm.errors import last_line
from compofa.errors import InputError, RunFailed

LOG = logging.getLogger(__name__)
STARTING_S = 120.0
"""How long a worker may take to start: importing TVM takes seconds, on a busy machine many."""
STOPPED_S = 2.0
"""Later than this after a time-out, and it was not the workers that were late."""
BEAT_S = 0.5
"""Signs of life are not sent more often: each wakes the parent, on a machine that may be measuring."""
ATTEMPTS = 2
"""A job that ended so many workers is not given to another."""


class Beat:
    """How a worker gives signs of life; each call may be one.

    Args:
        say: sends a message of a kind to the parent.
    """

    def __init__(self, say: Callable[[str], None] = lambda kind: None) -> None:
        self._say, self._last_s = say, time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last_s >= BEAT_S:
            self._last_s = now
            self._say("alive")

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Around what waits for another machine while the worker starts: it may take no longer than any silence."""
        self._say("asking")
        yield
        self._say("answered")


ABANDONED = -1
"""In place of a job's number: nobody waits for its result any more."""


class Lost(RunFailed):
    """No worker is left that could do what there is to do."""


class Gone(RunFailed):
    """Raised in a worker that cannot go on, such as one whose board went away; another may do its job."""


class Trade(ABC):
    """What a worker is; sent to it when it starts, so of plain data."""

    @abstractmethod
    def start(self, beat: Beat) -> Callable[[Any], Any]:
        """In the worker: get ready; returns what does a job.

        Raises:
            CannotRun: from the returned function: this job cannot be done, the next may.
            Exception: what the caller of the crew is to get.
        """

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that the worker needs from its start."""
        return {}


@dataclass
class _Worker:
    trade: Trade
    process: subprocess.Popen[bytes]
    pipe: Connection
    said: Any
    heard_s: float
    job: int | None = None
    ready: bool = False
    asking: bool = False


@dataclass
class Crew:
    """Workers, kept until :meth:`close`.

    Args:
        trades: one worker each.
        silence_s: how long a worker may give no sign of life once it has started.
        replace: start another for a worker that died; not for those that stand for a board.
        clock: seconds.
    """

    trades: Sequence[Trade]
    silence_s: float = 120.0
    replace: bool = True
    clock: Callable[[], float] = time.monotonic
    workers: list[_Worker] = field(default_factory=list)
    started: bool = False
    _vacant: list[Trade] = field(default_factory=list)
    _last_words: Exception = field(default_factory=lambda: Lost("there is no worker"))

    def run(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Do all `jobs`; gives (index, result) as they are done. The result of one that cannot be done, because
        a worker said so or it ended too many that were replaced, is a CannotRun with the reason.

        Raises:
            Lost: jobs remain, but no worker.
            Exception: what a worker raised: nothing can be done by any.
        """
        if not self.started:
            if self.replace:
                self._vacant = list(self.trades)
            else:
                self.workers = [self._start(trade) for trade in self.trades]
            self.started = True
        for worker in self.workers:
            if worker.job is not None:  # of a run that its caller did not see through
                worker.job = ABANDONED
        waiting = deque(range(len(jobs)))
        deaths: dict[int, int] = {}
        remaining = len(jobs)
        while remaining:
            self._hand_out(waiting, jobs)
            if not self.workers:
                raise self._last_words
            for worker in self._hear():
                kind, content = self._message(worker)
                if kind == "done":
                    index, worker.job = worker.job, None
                    if index == ABANDONED:
                        continue
                    remaining -= 1
                    assert index is not None
                    yield index, content
                elif kind == "failed":
                    self.close()
                    raise content
                elif kind == "gone":
                    given_up = self._bury(worker, content, waiting, deaths)
                    if given_up is not None:
                        remaining -= 1
                        yield given_up, CannotRun(f"{worker.trade} {content}")

    def _hand_out(self, waiting: deque[int], jobs: Sequence[Any]) -> None:
        idle = sum(worker.job is None for worker in self.workers)
        # None that is not needed: it costs seconds, and something may be timed when it starts.
        for trade in self._vacant[: max(0, len(waiting) - idle)]:
            self.workers.append(self._start(trade))
            self._vacant.remove(trade)
        for worker in self.workers:
            if waiting and worker.ready and worker.job is None:
                worker.job = waiting.popleft()
                worker.heard_s = self.clock()
                with contextlib.suppress(OSError):  # it is dead; hearing it will tell
                    worker.pipe.send(jobs[worker.job])

    def _hear(self) -> list[_Worker]:
        """Workers that said something, or have been silent for too long."""
        busy = [worker for worker in self.workers if worker.job is not None or not worker.ready]
        limit = min(map(self._limit_s, busy), default=self.clock())
        pipes = wait([worker.pipe for worker in busy], max(0.0, limit - self.clock()))
        if self.clock() - limit > STOPPED_S:
            # This process was stopped, perhaps its workers, too: they get their time anew.
            for worker in busy:
                worker.heard_s = self.clock()
        late = [w for w in busy if w.pipe not in pipes and self._limit_s(w) <= self.clock()]
        return [worker for worker in busy if worker.pipe in pipes] + late

    def _limit_s(self, worker: _Worker) -> float:
        """When the worker has been silent for too long."""
        starting = not (worker.ready or worker.asking)
        return worker.heard_s + (max(self.silence_s, STARTING_S) if starting else self.silence_s)

    def _message(self, worker: _Worker) -> tuple[str, Any]:
        if not worker.pipe.poll():
            return "gone", Lost(f"gave no sign of life for {self.clock() - worker.heard_s:.0f} s")
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            worker.process.wait()
            return "gone", Lost(f"ended with code {worker.process.returncode}{_tail(worker.said)}")
        worker.heard_s = self.clock()
        worker.ready = True if kind == "ready" else worker.ready
        worker.asking = kind == "asking"
        return kind, content

    def _bury(
        self, worker: _Worker, why: Exception, waiting: deque[int], deaths: dict[int, int]
    ) -> int | None:
        """Take leave of a worker; its job goes to the head of the queue, or is returned if it is given up."""
        self.workers.remove(worker)
        _end(worker)
        given_up = False
        if worker.job is not None and worker.job != ABANDONED:
            deaths[worker.job] = deaths.get(worker.job, 0) + 1
            given_up = self.replace and deaths[worker.job] >= ATTEMPTS
            if not given_up:
                waiting.appendleft(worker.job)
        if self.replace and worker.job is None:  # it died while it started, as the next one would
            self._last_words = Lost(f"{worker.trade} {why}")
            self.close()
        elif self.replace:
            LOG.warning("%s %s; another takes its place", worker.trade, why)
            self._vacant.append(worker.trade)
        else:
            self._last_words = why if isinstance(why, BackendUnavailable) else Lost(f"{worker.trade} {why}")
            LOG.warning("%s is dropped: %s", worker.trade, why)
        return worker.job if given_up else None

    def _start(self, trade: Trade) -> _Worker:
        here, there = socket.socketpair()
        said = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {
            **os.environ,
            **trade.environment,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "backends.tvm.crew", str(there.fileno())],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment,
            # Ctrl-C is for the parent, which then ends its workers.
            start_new_session=True,
        )
        there.close()
        pipe = Connection(here.detach())
        pipe.send(trade)
        return _Worker(trade, process, pipe, said, self.clock())

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self.workers:
            _end(worker)
        self.workers, self._vacant = [], []
        self.started = False

    def __del__(self) -> None:
        self.close()


def _end(worker: _Worker) -> None:
    """Kill it with its children, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    worker.pipe.close()
    worker.said.close()


def _tail(said: Any) -> str:
    """The last line that a worker wrote, for a message."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return f": {lines[-1].strip()}" if lines else ""


# --- in the worker ---


def serve(pipe: Connection) -> None:
    """Do what the other end of `pipe` sends, until it is closed."""

    def say(kind: str, content: Any = None) -> None:
        pipe.send((kind, content))

    beat = Beat(say)
    try:
        trade: Trade = pipe.recv()
        work = trade.start(beat)
        say("ready")
        while True:
            job = pipe.recv()
            try:
                result = work(job)
            except CannotRun as error:
                result = CannotRun(str(error))
            say("done", result)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except (BackendUnavailable, Gone) as error:
        say("gone", type(error)(*error.args))
    except Exception as error:
        say("failed", _plain(error))


def _plain(error: Exception) -> Exception:
    """`error` as one that can be sent: TVM's own classes are unknown to the parent."""
    for kind in (InputError, OSError, RunFailed):
        if type(error) is kind:
            return kind(*error.args)
    return RunFailed(f"TVM: {last_line(error)}")


if __name__ == "__main__":
    # TVM's FFI imports torch where it finds it, which takes longer than TVM itself. No worker needs it.
    sys.modules["torch"] = None  # type: ignore[assignment]
    # As `backends.tvm.crew`, not as `__main__`: what is sent must be of the same classes on both sides.
    from backends.tvm import crew

    crew.serve(Connection(int(sys.argv[1])))
