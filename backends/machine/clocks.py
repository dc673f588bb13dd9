"""The clocks by which work on the host is timed, and how a run that was interrupted is told from one that was not.

Where one thread does the work, the clock is the processor time of that thread: it stands still while another
process has the core. Where several do, processor time says nothing of how long they took together, so wall time
counts. Either way a run is *clean* only if the kernel took no core away from it (no involuntary context switch,
which is also how it comes to another core) and the processor worked all the while; the time of a process that was
stopped, or of a clock that jumped, is not clean.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Clock = Callable[[], float]
"""Seconds since any fixed moment."""

GAP_SHARE = 0.05
GAP_S = 20e-6
"""Wall time may exceed processor time by this fraction, and by so much: interrupts, and reading the clocks."""
WORST_RESOLUTION_S = 1e-6
"""A processor clock that ticks more coarsely cannot time single runs."""


class Reading(NamedTuple):
    """What one timed stretch of work said.

    Args:
        seconds: for doing the work once.
        clean: nothing else had a hand in it.
    """

    seconds: float
    clean: bool = True


Case = Callable[[int], Reading]
"""Does its work the given number of times, and says what one of them took, by whichever clock is right for the
device."""
Run = Callable[[], object]
"""Does the work once, or has the device begin it."""


def no_switches() -> int:
    """Where the system does not count them."""
    return 0


@dataclass(frozen=True)
class Clocks:
    """How work is timed.

    Args:
        name: of the clock that counts, as a target's details tell it.
        wall: of the world.
        cpu: processor time of those who work; None where there is no clock fine enough.
        by_cpu: processor time is what counts, not wall time.
        switches: involuntary context switches so far of those who work.
    """

    name: str
    wall: Clock = time.perf_counter
    cpu: Clock | None = None
    by_cpu: bool = False
    switches: Callable[[], int] = no_switches

    def case(self, run: Run) -> Case:
        """A case that calls `run`, which returns once its work is done."""
        wall, switches = self.wall, self.switches
        cpu = self.cpu or self.wall
        by_cpu = self.by_cpu

        def case(repeats: int) -> Reading:
            loop = range(repeats)
            switched = switches()
            start_s = wall()
            start_cpu_s = cpu()
            for _ in loop:
                run()
            cpu_s = cpu() - start_cpu_s
            wall_s = wall() - start_s
            undisturbed = switches() == switched
            return reading(wall_s, cpu_s, by_cpu, undisturbed, repeats)

        return case


def reading(wall_s: float, cpu_s: float, by_cpu: bool, undisturbed: bool, repeats: int = 1) -> Reading:
    """What two clocks say of `repeats` runs together, `undisturbed` by others as far as the system knows."""
    seconds = (cpu_s if by_cpu else wall_s) / repeats
    at_work = wall_s <= (1 + GAP_SHARE) * cpu_s + GAP_S
    return Reading(seconds, undisturbed and at_work and seconds > 0 and math.isfinite(seconds))


def host_clocks(threads: int = 1) -> Clocks:
    """The clocks for work by `threads` threads of this process, the calling one among them."""
    if threads == 1 and _fine("thread_time"):
        return Clocks(
            "thread CPU time", cpu=time.thread_time, by_cpu=True, switches=_switches("RUSAGE_THREAD")
        )
    cpu = time.process_time if _fine("process_time") else None
    return Clocks("wall time", cpu=cpu, switches=_switches("RUSAGE_SELF"))


def _fine(name: Literal["thread_time", "process_time"]) -> bool:
    try:
        return time.get_clock_info(name).resolution <= WORST_RESOLUTION_S
    except ValueError:  # this system has no such clock
        return False


def _switches(whose: str) -> Callable[[], int]:
    try:
        import resource
    except ImportError:  # Windows
        return no_switches
    if not hasattr(resource, whose):
        return no_switches
    getrusage, who = resource.getrusage, getattr(resource, whose)
    return lambda: getrusage(who).ru_nivcsw
