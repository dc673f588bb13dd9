"""Several processes that work together, as those that torchrun starts do."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import torch.distributed as dist


@pytest.fixture(scope="session")
def in_processes() -> Callable[[int, Path, Callable[[int], None]], None]:
    """Calls a function with the rank in each of several processes, which have joined a group of gloo; they meet in a
    folder. Forked, so that they start at once."""

    def call(size: int, folder: Path, work: Callable[[int], None]) -> None:
        def begin(rank: int) -> None:
            torch.set_num_threads(1)
            dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=size)
            work(rank)
            dist.destroy_process_group()

        folder.mkdir(exist_ok=True)
        forked = get_context("fork")
        processes = [forked.Process(target=begin, args=(rank,)) for rank in range(size)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * size

    return call
