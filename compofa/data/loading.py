"""Batches made ahead by worker processes."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from compofa.data.augmentation import Augmenter
from compofa.data.base import ImageData, Indices, Pixels
from compofa.errors import InputError, RunFailed
from compofa.stopping import leave_to_parent

AHEAD = 2
"""Batches that each worker makes before they are asked for."""


class BatchSpec(NamedTuple):
    """What :meth:`ImageData.pixels` is asked for."""

    indices: Indices
    resolution: int
    augmenter: Augmenter | None = None


def default_workers() -> int:
    """One process for each core but one, which is left to whoever uses the batches. The cores are divided among the
    processes that torchrun started on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, cores // together - 1)


class _Maker(Dataset[Pixels | InputError]):
    """A data set whose items are whole batches: torch's loader then only keeps the order."""

    def __init__(self, data: ImageData) -> None:
        self.data = data

    def __getitem__(self, spec: BatchSpec) -> Pixels | InputError:
        try:
            return self.data.pixels(*spec)
        except (
            InputError
        ) as error:  # raised here it would reach the parent with the worker's traceback in its text
            return error


def load(
    data: ImageData, specs: Iterable[BatchSpec], workers: int | None = None, pinned: bool = False
) -> Generator[Pixels, None, None]:
    """The batches of `specs`, in order.

    Args:
        data: where they come from.
        specs: may be endless; is looked at a few batches ahead.
        workers: processes that make them; 0 makes each when it is asked for. Unless given, some for data that is slow,
            none for data in memory.
        pinned: in memory that a CUDA device copies from while it computes.

    Raises:
        InputError: an image cannot be read.
        RunFailed: a worker process ended.
    """
    if workers is None:
        workers = default_workers() if data.slow else 0
    if not workers:
        for spec in specs:
            yield data.pixels(*spec)
        return
    loader = DataLoader(
        _Maker(data),
        batch_size=None,
        sampler=specs,
        num_workers=workers,
        prefetch_factor=AHEAD,
        pin_memory=pinned,
        worker_init_fn=_begin_worker,
        generator=torch.Generator(),  # else it would draw from the one that dropout uses
    )
    batches = iter(loader)
    # Who stops in the middle and ends the program with it: multiprocessing would send SIGTERM, which the workers leave
    # to their parent, and wait for ever.
    end = batches._shutdown_workers  # type: ignore[attr-defined]  # what torch itself calls when it is deleted
    atexit.register(end)
    try:
        while (made := _next(batches)) is not None:
            if isinstance(made, InputError):
                raise made
            yield made
    finally:
        atexit.unregister(end)
        end()  # left to the garbage collection, which ends queues and workers in any order, it can take 5 s a worker


def _next(batches: Iterator[Pixels | InputError]) -> Pixels | InputError | None:
    """The next of torch's batches; None after the last."""
    try:
        return next(batches, None)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RunFailed(
            "a process that reads images ended: was there not enough memory? Try fewer of them (--data-workers)"
        ) from error


def _begin_worker(number: int) -> None:
    leave_to_parent()
    # What is sent to all processes of a job at its end (`timeout`, Slurm) is the parent's to heed: it needs the images
    # of the step that it is taking, and torch raises in the middle of that when a worker goes.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
