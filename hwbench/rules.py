"""What a rule is, and how it is checked: :mod:`hwbench.testing` has those for backends."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol, TypeVar

NOTHING_ON_STDOUT = "nothing is printed on stdout"
IN_TIME = "every call ends in time"


class RuleBroken(AssertionError):
    """A backend broke a rule.

    Args:
        rule: which, in words.
        what: it did instead.
    """

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule, self.what = rule, what


class Kit(Protocol):
    """What rules are methods of."""

    limit_s: ClassVar[float]


K = TypeVar("K", bound=Kit)


def rule(promise: str) -> Callable[[Callable[[K], None]], Callable[[K], None]]:
    """Makes a check of what `promise` says: an exception of any sort, a word on stdout and a call that does not end
    break a rule, too."""

    def decorate(check: Callable[[K], None]) -> Callable[[K], None]:
        @functools.wraps(check)
        def held(self: K) -> None:
            with _listening() as printed:
                try:
                    with _limited_to(self.limit_s):
                        check(self)
                except RuleBroken as broken:
                    raise RuleBroken(broken.rule or promise, broken.what) from broken.__cause__
                except (Exception, SystemExit) as error:
                    raise RuleBroken(promise, f"{type(error).__name__}: {error}") from error
            if said := printed():
                raise RuleBroken(NOTHING_ON_STDOUT, f"it printed {said[:200]!r}")

        return held

    return decorate


def expect(holds: bool, what: str) -> None:
    """Breaks the rule that is being checked unless `holds`."""
    if not holds:
        raise RuleBroken("", what)


@contextlib.contextmanager
def _listening() -> Iterator[Callable[[], str]]:
    """Gives a function that tells, afterwards, what was written to stdout: by Python, or by a library in C."""
    text = io.StringIO()
    with tempfile.TemporaryFile() as file, contextlib.redirect_stdout(text):
        if sys.__stdout__:
            sys.__stdout__.flush()
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            yield lambda: text.getvalue() + written
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            written = file.read().decode(errors="replace")


@contextlib.contextmanager
def _limited_to(seconds: float) -> Iterator[None]:
    """Breaks a rule if it takes longer; where there is no alarm, or not in the main thread, it may."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_late(*_: Any) -> None:
        raise RuleBroken(IN_TIME, f"one had not ended after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
