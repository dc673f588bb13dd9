"""A simulated device: its pace and its neighbours are functions of time, so what is measured is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from backends.machine.clocks import Case, Reading
from backends.measuring.pairing import Pacer

MS = 1e-3


@dataclass
class Simulated:
    """Work takes its time, times `slowdown(now)`.

    Args:
        slowdown: of all work, at a moment in seconds.
        disturbed: whether a run that ends at that moment was, and by how many seconds of wall time.
    """

    slowdown: Callable[[float], float] = lambda now: 1.0
    disturbed: Callable[[float], float] = lambda now: 0.0
    now: float = 0.0
    log: list[tuple[str, int]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def case(
        self, name: str, ms: float, first_ms: float = 0.0, jitter: Callable[[], float] = lambda: 1.0
    ) -> Case:
        state = {"extra": first_ms}

        def case(repeats: int) -> Reading:
            self.log.append((name, repeats))
            start = self.now
            for _ in range(repeats):
                self.now += (ms * jitter() + state.pop("extra", 0.0)) * MS * self.slowdown(self.now)
            held_up = self.disturbed(self.now)
            self.now += held_up
            return Reading((self.now - start) / repeats, clean=held_up == 0)

        return case

    def pacer(self, ms: float = 0.2) -> Pacer:
        return Pacer(self.case("reference", ms), runs=4)


@pytest.fixture(scope="session")
def simulated() -> type[Simulated]:
    """A device whose times are known."""
    return Simulated
