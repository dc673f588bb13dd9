"""Where work runs and by which clock it is timed: the host, or a GPU (:mod:`backends.machine.gpu`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from backends.machine.clocks import Case, Clocks, Run, host_clocks
from backends.machine.energy_counters import Counter, open_rapl
from backends.machine.host import cpu_name

Details = tuple[tuple[str, float | str], ...]


class Pending(Protocol):
    """Work that was begun."""

    def done(self) -> bool:
        """Whether it is done; does not wait."""

    def wait(self) -> None:
        """Until it is done."""


Begin = Callable[[int], Pending]
"""Begins to do its work the given number of times."""


class Done:
    """Work that was done when it was begun."""

    def done(self) -> bool:
        """It is."""
        return True

    def wait(self) -> None:
        """No need to."""


@dataclass(frozen=True)
class Conditions:
    """The state of a device while it was timed.

    Args:
        details: to be kept with the measurements.
        throttled: the device was held back, so the measurements are not of its usual speed.
    """

    details: Details = ()
    throttled: bool = False


class Device:
    """The host: work is done when `run` returns.

    Args:
        clocks: by which the host's work is timed; those of one thread unless given.

    Attributes:
        name: the processor's.
        versions: of what drives it, as in a target.
        memory_bytes: what may be held ready to run at a time.
    """

    versions: tuple[tuple[str, str], ...] = ()
    memory_bytes: int = 320_000_000

    def __init__(self, clocks: Clocks | None = None) -> None:
        self.clocks = clocks or host_clocks()

    @property
    def clock_name(self) -> str:
        """The clock by which work is timed, as in a target's details."""
        return self.clocks.name

    @property
    def name(self) -> str:
        return cpu_name()

    @property
    def inner_ms(self) -> float:
        """Least duration of what is timed at once, for clocks that tick coarsely."""
        return 0.0

    def case(self, run: Run) -> Case:
        """`run` as a case of the timing loop."""
        return self.clocks.case(run)

    def begin(self, run: Run) -> Begin:
        """`run` as work that goes on while the host does something else, where the device can do that."""

        def begin(repeats: int) -> Pending:
            for _ in range(repeats):
                run()
            return Done()

        return begin

    def capture(self, run: Run) -> Run:
        """`run`, recorded once and replayed as a whole, where the device can do that."""
        return run

    def flushed(self, run: Run) -> Case | None:
        """`run` with cold caches; None where caches cannot be flushed."""
        return None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Around whatever runs on the device: sets it up as its settings say, and puts everything back."""
        yield

    def warm_up(self, case: Case) -> None:
        """Bring the device's clocks to where they are in use."""

    def sample(self) -> None:
        """Note the state of the device; called between rounds."""

    def conditions(self) -> Conditions:
        """The state since the last call."""
        return Conditions()

    def energy_counter(self) -> Counter:
        """What counts the energy that it uses.

        Raises:
            Unavailable: nothing does; says why.
        """
        return open_rapl()
