"""What the work says about itself: notes by Python's logging, and how far it is.

In Python both are silent until they are asked for, notes by ``logging``, progress by :func:`showing`; commands show
both on stderr.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hwbench import streams
from hwbench.streams import plain

LOG = logging.getLogger("hwbench")
"""Notes are of level INFO; what makes a result doubtful is a WARNING."""


def note(message: str) -> None:
    """Say something that whoever reads the result should know."""
    LOG.info("%s", message)


def warn(message: str) -> None:
    """Say why a result may be doubtful."""
    LOG.warning("%s", message)


class _Lines(logging.Handler):
    """A line on stderr for each note, as it is."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        streams.tell(prefix + record.getMessage())


_LINES = _Lines(logging.INFO)


@contextmanager
def showing() -> Iterator[None]:
    """While it lasts, notes and progress appear on stderr.

    >>> import hwbench
    >>> with hwbench.showing():
    ...     found = hwbench.search(hwbench.reference_table(), space="compofa", latency_ms=0.3)
    """
    if _LINES in LOG.handlers:
        yield
        return
    level, propagate = LOG.level, LOG.propagate
    LOG.addHandler(_LINES)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        yield
    finally:
        LOG.removeHandler(_LINES)
        LOG.setLevel(level)
        LOG.propagate = propagate


Advance = Callable[[int], None]


@contextmanager
def progress(label: str, total: int, clock: Callable[[], float] = time.monotonic) -> Iterator[Advance]:
    """Show how far the work is and how long it will still take; gives a function to call with each number
    of steps done. A bar on a terminal, elsewhere a line every ten seconds, on stderr; nothing unless
    :func:`showing`."""
    if _LINES not in LOG.handlers:
        yield lambda steps: None
    elif sys.stderr and sys.stderr.isatty():
        with _bar(label, total) as advance:
            yield advance
    else:
        yield _PlainProgress(label, total, clock)


@contextmanager
def progress_lines(label: str, total: int, clock: Callable[[], float] = time.monotonic) -> Iterator[Advance]:
    """:func:`progress` in lines, also on a terminal: for work within work that has a bar already."""
    yield _PlainProgress(label, total, clock) if _LINES in LOG.handlers else lambda steps: None


@contextmanager
def _bar(label: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(plain(label), total=total)
        yield lambda steps: bar.advance(task, steps)


class _PlainProgress:
    """Lines such as ``measuring 120/403, 35 s left``, not more often than every ten seconds."""

    def __init__(self, label: str, total: int, clock: Callable[[], float]) -> None:
        self.label, self.total, self.clock = label, total, clock
        self.done, self.start = 0, clock()
        self.last = self.start

    def __call__(self, steps: int) -> None:
        self.done += steps
        now = self.clock()
        if self.done and now - self.last >= 10:
            self.last = now
            left_s = (now - self.start) / self.done * (self.total - self.done)
            note(f"{self.label} {self.done}/{self.total}, {left_s:.0f} s left")
