"""The processes that work together: one, or those that torchrun started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

from compofa.errors import RunFailed

Value = TypeVar("Value")


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
        """Add up `values`, floats, over all processes, in place; every process gives the same shape, and gets the sum.

        It is formed in double precision and rounded once: the order in which a library adds, which depends on its
        algorithm and on the number of processes, then makes no difference.

        Raises:
            RunFailed: another process is gone.
        """
        if self.size == 1:
            return
        exact = values.double()
        try:
            dist.all_reduce(exact)
        except RuntimeError as error:  # what gloo and NCCL raise when a peer has closed its connection
            raise self._lost(error) from error
        values.copy_(exact)

    def any(self, mine: bool, device: torch.device | str = "cpu") -> bool:
        """Whether it is so for one of the processes.

        Raises:
            RunFailed: another process is gone.
        """
        count = torch.tensor([float(mine)], dtype=torch.float64, device=device)
        self.sum(count)
        return bool(count.item())

    def from_first(self, value: Value) -> Value:
        """What process 0 gives, in all.

        Raises:
            RunFailed: another process is gone.
        """
        if self.size == 1:
            return value
        box = [value]
        try:
            dist.broadcast_object_list(box)
        except RuntimeError as error:
            raise self._lost(error) from error
        return box[0]

    def _lost(self, error: Exception) -> RunFailed:
        reason = " ".join(str(error).split())[:120]
        return RunFailed(
            f"process {self.rank} of {self.size} lost another one ({reason}); the same command goes on from the last"
            " checkpoint"
        )
