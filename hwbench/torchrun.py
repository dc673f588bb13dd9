"""Being one of the processes that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from compofa.errors import Unavailable


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the process group if torchrun started this process; gives the device that it should use: with ``cuda`` each
    process of a machine has one of its own.

    Raises:
        Unavailable: torch cannot use the device.
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
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _check(device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
        reason = " ".join(str(error).split())[:150]
        raise Unavailable(f"--device {device}: {reason}") from error
