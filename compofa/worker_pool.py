"""Worker processes that this process alone ends: at the end, when it is interrupted, and when it is gone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from typing import Any

from compofa.errors import RunFailed
from compofa.stopping import leave_to_parent

Submit = Callable[..., "Future[Any]"]
"""Called with a function of a module and its arguments; gives what will hold its result."""


@contextmanager
def worker_pool(workers: int, prepare: Callable[..., None], *arguments: Any) -> Iterator[Submit]:
    """Processes that do one submitted thing after the other; what waits when the block ends early is not begun.

    Args:
        workers: processes, at most.
        prepare: called with `arguments` once in each.

    Raises:
        RunFailed: one of them ended.
    """
    # spawn: a forked child would inherit torch's thread pool in an unknown state
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (prepare, *arguments)) as pool:

        def submit(function: Callable[..., Any], *given: Any) -> Future[Any]:
            with _interrupts_are_ours():  # it may start a process
                return pool.submit(function, *given)

        try:
            yield submit
        except BrokenProcessPool as error:
            raise RunFailed(
                "a worker process ended: was there not enough memory? Try fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_are_ours() -> Iterator[None]:
    """Processes started within do not see Ctrl-C, which a terminal sends to all: the parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it unblocks the signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(prepare: Callable[..., None], *arguments: Any) -> None:
    leave_to_parent()
    prepare(*arguments)
