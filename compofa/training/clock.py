"""The time that steps take."""

from __future__ import annotations

import time

from compofa.training.state import Cost


class StepClock:
    """Adds to a cost what time the steps take, and what of it is waiting for images. What is done between two steps is
    not counted.

    Args:
        cost: that is added to.
    """

    def __init__(self, cost: Cost) -> None:
        self.cost = cost
        self.begin()

    def begin(self) -> None:
        """A step begins."""
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def fed(self) -> None:
        """Its images are there."""
        self.cost.wait_s += time.monotonic() - self.wall

    def end(self) -> None:
        """It ends."""
        self.cost.wall_s += time.monotonic() - self.wall
        self.cost.cpu_s += time.process_time() - self.cpu
