"""Several trainings at once, each in a process of its own: small networks use more cores in no other way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING

from compofa.worker_pool import worker_pool
from hwbench import cli

if TYPE_CHECKING:
    from compofa.recipe import Recipe
    from hwbench.training_runs import Told

Start = Callable[["Recipe", Path, Path | None], "Future[Path]"]
"""Called with a recipe, the folder of its run and its teacher's file; gives what will hold the supernet's file."""


@contextmanager
def training_pool(workers: int, threads: int) -> Iterator[Start]:
    """Trainings are begun in the order in which they are submitted. If the block ends early, those that run stop at the
    end of a step, each with a checkpoint.

    Args:
        workers: processes, at most.
        threads: of torch in each.

    Raises:
        RunFailed: a process ended.
    """
    stop = get_context("spawn").Event()
    with worker_pool(workers, _prepare, threads, stop) as submit:
        try:
            yield lambda recipe, out, teacher: submit(_train, recipe, out, teacher)
        except BaseException:
            stop.set()
            raise


# --- in worker processes ---

_stop: Event
"""Set once all are to stop."""


def _prepare(threads: int, stop: Event) -> None:
    global _stop
    import torch

    torch.set_num_threads(threads)
    _stop = stop


def _train(recipe: Recipe, out: Path, teacher: Path | None) -> Path:
    from hwbench.training_progress import training_lines
    from hwbench.training_runs import train

    def shown(label: str, total: int, done: int) -> AbstractContextManager[Told]:
        return training_lines(f"seed {recipe.seed}: {label}", total, done)

    with cli.showing():
        return train(recipe, out=out, teacher=teacher, progress=shown, stop=_stop.is_set).path
