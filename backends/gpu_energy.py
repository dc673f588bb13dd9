"""Millijoules of a run, by the counter that NVIDIA's driver keeps of all that a GPU has used.

The counter (``nvmlDeviceGetTotalEnergyConsumption``, Volta and later) moves in steps, some dozens a second. So a case
runs in a loop that is cut into short pieces with a look at the counter after each, and what counts are the runs and
the energy between the first step and the last. What the GPU uses while it only waits is in it, too, in proportion to
the time: somebody pays for it.

A block's energy is found as its latency is (:mod:`backends.measuring.differencing`): by the difference of two
networks, which take turns. Sums of blocks are then to be compared with whole networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from backends.base import Network
from backends.chained import ChainBackend
from backends.machine.clocks import Case, Clock
from backends.measuring.differencing import context_of
from compofa.blocks import Block
from compofa.errors import RunFailed, Unavailable

PIECE_S = 0.004
"""Between two looks at the counter: a hundredth of a loop, so that its ends are known to a percent."""
LEAST_S = 0.6
"""Of a loop: several steps of the slowest counters."""
LEAST_STEPS = 4
"""Fewer tell no energy."""


class Counter(Protocol):
    """What has been used since some moment."""

    def read_mj(self) -> int:
        """In millijoules."""


class NvmlCounter:
    """The counter of one GPU.

    Args:
        nvml: the module ``pynvml``, initialised.
        handle: NVML's, of the GPU.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def read_mj(self) -> int:
        """In millijoules, since the driver was loaded."""
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))


def open_counter(uuid: str) -> NvmlCounter:
    """The counter of the GPU with CUDA's `uuid`.

    Raises:
        Unavailable: NVML is not there, or does not count this GPU's energy; says why.
    """
    try:
        import pynvml
    except ImportError:
        raise Unavailable("energy is read by NVML; install with: pip install nvidia-ml-py") from None
    try:
        pynvml.nvmlInit()
        counter = NvmlCounter(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}"))
        counter.read_mj()
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML tells no energy of GPU {uuid}: {error}") from error
    return counter


@dataclass(frozen=True)
class Energy:
    """Of one run.

    Args:
        mj: millijoules.
        ms: milliseconds, in the same loop.
        steps: of the counter that it rests on.
    """

    mj: float
    ms: float
    steps: int


def energy_of(
    case: Case, counter: Counter, *, least_s: float = LEAST_S, clock: Clock = time.perf_counter
) -> Energy:
    """The energy of one run of `case`, from a loop of about `least_s` seconds.

    Raises:
        RunFailed: the counter hardly moved.
    """
    once_s = max(case(1).seconds, 1e-9)
    repeats = max(1, round(PIECE_S / once_s))
    looks: list[tuple[float, int, int]] = []  # when, runs so far, millijoules: where the counter had moved
    last_mj, runs, began = counter.read_mj(), 0, clock()
    while (now := clock()) - began < least_s:
        case(repeats)
        runs += repeats
        mj = counter.read_mj()
        if mj != last_mj:
            looks.append((now, runs, mj))
            last_mj = mj
    steps = len(looks) - 1
    if steps < LEAST_STEPS:
        raise RunFailed(
            f"the energy counter moved {len(looks)} times in {least_s:g} s: too few to tell an energy"
        )
    (first_s, first_runs, first_mj), (last_s, last_runs, end_mj) = looks[0], looks[-1]
    done = last_runs - first_runs
    return Energy((end_mj - first_mj) / done, 1e3 * (last_s - first_s) / done, steps)


Measure = Callable[[Case], Energy]


def block_energy(backend: ChainBackend, block: Block, measure: Measure, *, rounds: int = 2) -> Energy:
    """What `block` adds to the energy of a network that holds it; `backend` runs it and says in which precision.

    Raises:
        CannotRun: one of its two networks cannot be run.
    """
    context = context_of(block)
    longer, shorter = _turns(backend, (context.longer, context.shorter), measure, rounds)
    return Energy(
        mj=(longer.mj - shorter.mj) / context.copies,
        ms=(longer.ms - shorter.ms) / context.copies,
        steps=min(longer.steps, shorter.steps),
    )


def network_energies(
    backend: ChainBackend, networks: Sequence[Network], measure: Measure, *, rounds: int = 2
) -> list[Energy]:
    """Of one run of each network.

    Raises:
        CannotRun: one of them cannot be run.
    """
    return [energy for network in networks for energy in _turns(backend, (network,), measure, rounds)]


def _turns(backend: ChainBackend, networks: Sequence[Network], measure: Measure, rounds: int) -> list[Energy]:
    """The mean energy of each of `networks`, which take turns, forth and back, so that drift hits all alike."""
    found: list[list[Energy]] = [[] for _ in networks]
    with backend.device.active():
        cases = [backend.device.case(backend._ready(network, backend.settings.seed)) for network in networks]
        for turn in range(rounds):
            order = range(len(cases)) if turn % 2 == 0 else range(len(cases) - 1, -1, -1)
            for index in order:
                found[index].append(measure(cases[index]))
    return [
        Energy(
            mj=float(np.mean([energy.mj for energy in energies])),
            ms=float(np.mean([energy.ms for energy in energies])),
            steps=min(energy.steps for energy in energies),
        )
        for energies in found
    ]
