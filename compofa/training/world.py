"""The processes that train together: one, or those that torchrun started."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist

from compofa.errors import RunFailed


@dataclass(frozen=True)
class World:
    """The processes of a run, of which this is number `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> World:
        """The process group that this process has joined; this process alone if it joined none."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    @property
    def share(self) -> slice:
        """This process's part of a batch. Parts differ by one image at most."""
        return slice(self.rank, None, self.size)

    def sum(self, values: torch.Tensor) -> None:
        """Add up `values` over all processes, in place; every process gives the same shape, and gets the sum.

        Raises:
            RunFailed: another process is gone.
        """
        if self.size == 1:
            return
        try:
            dist.all_reduce(values)
        except RuntimeError as error:  # what gloo and NCCL raise when a peer has closed its connection
            reason = " ".join(str(error).split())[:120]
            raise RunFailed(
                f"process {self.rank} of {self.size} lost another one ({reason}); the same command goes on from"
                " the last checkpoint"
            ) from error
