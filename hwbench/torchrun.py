"""Being one of the processes that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from compofa.errors import RunFailed, Unavailable


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the process group if torchrun started this process; gives the device that it should use: with ``cuda`` each
    process of a machine has one of its own.

    Raises:
        Unavailable: torch cannot use the device.
        RunFailed: another process did not come.
    """
    together = "RANK" in os.environ
    if together and device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    _check(device)
    if not together:
        yield device
        return
    import torch
    import torch.distributed as dist

    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    try:
        _join("nccl" if device.startswith("cuda") else "gloo")
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:150]
        raise RunFailed(f"process {os.environ['RANK']} did not find the others: {reason}") from error
    try:
        yield device
    finally:
        dist.destroy_process_group()


def is_first() -> bool:
    """Whether this process is the one that writes and speaks: number 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _join(backend: str) -> None:
    """Meet the other processes. What a process tells them of where it is goes under the number of the attempt: torchrun
    keeps its store when it starts the processes again, and the addresses of those that are gone with it."""
    import torch.distributed as dist

    store, rank, size = next(dist.rendezvous("env://"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    dist.init_process_group(
        backend, store=dist.PrefixStore(f"attempt-{attempt}", store), rank=rank, world_size=size
    )


def _check(device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
        reason = " ".join(str(error).split())[:150]
        raise Unavailable(f"--device {device}: {reason}") from error
