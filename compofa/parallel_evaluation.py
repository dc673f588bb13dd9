"""Many subnets at once: on the cores of this machine, or on the devices that torchrun gave a process each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from compofa.evaluate import Evaluator, make_evaluator
from compofa.memory import freed_memory_kept, keep_freed_memory
from compofa.spaces.arch import Arch
from compofa.worker_pool import worker_pool
from compofa.world import World


class Source(NamedTuple):
    """What :func:`compofa.evaluate.make_evaluator` makes an evaluator from, in another process, too."""

    supernet: Path
    data: str
    family: str | None = None


def correct_counts(
    evaluator: Evaluator, source: Source, archs: Sequence[Arch], workers: int
) -> Iterator[int]:
    """Correct test images of each subnet, in order, measured on one thread each, by `workers` processes; one is this.

    Args:
        evaluator: of `source`.
        source: what the other processes make theirs from.
        archs: subnets; those of one resolution should follow each other.
        workers: processes.

    Raises:
        RunFailed: a worker process ended, or a subnet computes what is not finite.
    """
    jobs = evaluator.jobs(archs)
    if workers == 1:
        with _one_thread(), freed_memory_kept():
            for job in jobs:
                yield from evaluator.correct_each(job)
        return
    with worker_pool(workers, _start_worker, source) as submit:
        counts = [submit(_measure, job) for job in jobs]
        for found in counts:
            yield from found.result()


def shared_counts(evaluator: Evaluator, archs: Sequence[Arch], world: World) -> Iterator[int]:
    """Correct test images of each subnet, in order, where each process of `world` measures its share of them; all
    processes get all counts.

    Raises:
        RunFailed: a process is gone, or a subnet computes what is not finite.
    """
    jobs = evaluator.jobs(archs)
    with freed_memory_kept():
        for start in range(0, len(jobs), world.size):
            now = jobs[start : start + world.size]
            found = torch.zeros(len(now), max(map(len, now)), dtype=torch.float64, device=evaluator.device)
            if world.rank < len(now):
                mine = now[world.rank]
                found[world.rank, : len(mine)] = torch.tensor(
                    evaluator.correct_each(mine), dtype=torch.float64
                )
            world.sum(found)
            for job, counts in zip(now, found.tolist(), strict=True):
                yield from map(int, counts[: len(job)])


# --- in worker processes ---

_evaluator: Evaluator | None = None
"""Of a worker process: made once, since every subnet it measures shares it."""


def _start_worker(source: Source) -> None:
    global _evaluator
    torch.set_num_threads(1)
    keep_freed_memory()
    _evaluator = make_evaluator(*source)


def _measure(archs: Sequence[Arch]) -> list[int]:
    assert _evaluator
    return _evaluator.correct_each(archs)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
