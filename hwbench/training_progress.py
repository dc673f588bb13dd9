"""How far training is: steps, images a second, and how long it will still take, counted from where this run began."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hwbench import cli

Entry = dict[str, Any]
Advance = Callable[[Entry], None]


@contextmanager
def training_progress(
    label: str, total: int, done: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Advance]:
    """Show progress; gives a function to call with the log entry of each step. A bar on a terminal, elsewhere a line
    every ten seconds, on stderr.

    Args:
        label: what is trained.
        total: steps.
        done: steps that an earlier run took: they say nothing of how fast this one is.
        clock: in seconds.
    """
    if sys.stderr and sys.stderr.isatty():
        with _bar(label, total, done) as advance:
            yield advance
    else:
        with training_lines(label, total, done, clock) as advance:
            yield advance


@contextmanager
def training_lines(
    label: str, total: int, done: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Advance]:
    """:func:`training_progress` in lines, also on a terminal: for one of several trainings."""
    yield _Lines(label, total, done, clock)


@contextmanager
def _bar(label: str, total: int, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    rate = ImageRate(time.monotonic)
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(cli.plain(label), total=total, completed=done, speed="")

        def advance(entry: Entry) -> None:
            rate.note(entry)
            bar.update(task, advance=1, speed=f"loss {entry['loss']:.3f}, {rate.per_s:.0f} images/s")

        yield advance


class ImageRate:
    """Images a second since it was made.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.begun = clock, clock()
        self.first: int | None = None
        self.per_s = 0.0

    def note(self, entry: Entry) -> None:
        """A step is done, whose entry says how many images have been read, by earlier runs, too."""
        if self.first is None:  # its own images are not known: the clock starts after it
            self.first, self.begun = entry["images"], self.clock()
        elif (passed := self.clock() - self.begun) > 0:
            self.per_s = (entry["images"] - self.first) / passed


class _Lines:
    """Lines such as ``training glyphs-ofa 120/403, loss 2.315, 512 images/s, 35 s left``."""

    def __init__(self, label: str, total: int, done: int, clock: Callable[[], float]) -> None:
        self.label, self.total, self.done, self.clock = label, total, done, clock
        self.before, self.start = done, clock()
        self.last = self.start
        self.rate = ImageRate(clock)

    def __call__(self, entry: Entry) -> None:
        self.done += 1
        self.rate.note(entry)
        now = self.clock()
        if now - self.last < 10:
            return
        self.last = now
        left_s = (now - self.start) / (self.done - self.before) * (self.total - self.done)
        cli.note(
            f"{self.label} {self.done}/{self.total}, loss {entry['loss']:.3f}, {self.rate.per_s:.0f} images/s,"
            f" {duration(left_s)} left"
        )


def duration(seconds: float) -> str:
    """In words, to two places: ``3 h 20 min``, ``40 s``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
