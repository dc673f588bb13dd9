"""A backend that finds what a block costs inside a network, on a host or a GPU."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from backends.base import (
    BATCH_OF_BLOCKS,
    Batch,
    BlocksFailed,
    CannotRun,
    Measurement,
    Network,
    Option,
    Settings,
)
from backends.device import Conditions, Device
from backends.machine.clocks import Case, Reading, Run
from backends.measuring import METHOD, energy
from backends.measuring.backend import PairedBackend
from backends.measuring.differencing import SMALLEST, Floats, Plan, held_bytes, parts, working_bytes
from backends.measuring.energy import Energy
from backends.measuring.pairing import Pacer, Paired
from backends.measuring.reference import READING_RUNS, REFERENCE
from backends.measuring.rotation import bounded
from backends.measuring.summary import summarise
from backends.measuring.timing import Timing, TimingSettings, time_beside
from compofa.blocks import Block
from compofa.errors import InputError


@dataclass(frozen=True)
class Timings:
    """How long and how carefully blocks and networks are timed."""

    blocks: TimingSettings
    networks: TimingSettings


CPU_TIMINGS = Timings(
    blocks=TimingSettings(round_ms=4.0),
    networks=TimingSettings(rotation=1, round_ms=16.0),
)
"""Single runs: where others use the processor, too, those that were interrupted can be left out."""
GPU_TIMINGS = Timings(
    blocks=TimingSettings(inner_ms=1.0, max_warmup_ms=20.0),
    networks=TimingSettings(inner_ms=3.0, max_warmup_ms=50.0),
)
"""Inner loops, as the events that time them resolve half a microsecond."""


ENERGY = Option(
    "energy",
    "yes: also count the millijoules of a run, by NVML on a GPU and by RAPL on a processor; takes seconds a block",
    "no",
    ("no", "yes"),
)
"""Of the backends that can keep ``energy_mj`` beside a latency (:func:`backends.measuring.energy.details`)."""


NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
"""What torch says of it."""


class ChainBackend(PairedBackend):
    """Costs of blocks by :mod:`backends.measuring.differencing`, whatever the runtime.

    A subclass says how a network is made ready (:meth:`_ready`) and what its elements take. Besides the cost,
    ``alone_ms`` and (where caches can be flushed) ``flushed_ms`` of each block are kept: the block run alone,
    the call included.

    Args:
        settings: how to run.
        timings: how to time.
    """

    element_bytes: ClassVar[dict[str, int]]
    """Of each precision that the backend has."""
    shares_activations: ClassVar[bool] = True
    """Whether networks that are ready share the memory of their activations, or each holds its own."""

    def __init__(self, settings: Settings, timings: Timings) -> None:
        super().__init__(settings)
        if settings.precision not in self.element_bytes:
            raise InputError(
                f"backend {self.name} has no precision {settings.precision!r}; "
                f"it has {', '.join(self.element_bytes)}"
            )
        if settings.batch < 1:
            raise InputError(f"the batch must be at least 1, not {settings.batch}")
        self.device, self.timings = self._open_device(), timings
        wanted = settings.options.get(ENERGY.name) == "yes"
        self._counter = self.device.energy_counter() if wanted else None

    @property
    def method(self) -> dict[str, str]:
        """How it is timed, for the target's details."""
        return {"clock": self.device.clock_name, "timing": METHOD}

    def _pacer(self) -> Pacer:
        case = self._reference_case(REFERENCE)
        self.device.warm_up(case)
        return Pacer(case, READING_RUNS, self.device.inner_ms)

    def _at_work(self) -> AbstractContextManager[None]:
        return self.device.active()

    def _reference_case(self, network: Network) -> Case:
        return self._sampled(self.device.case(self._made_ready(network, 0)))

    @abstractmethod
    def _open_device(self) -> Device:
        """The device that the settings name; called once, after :meth:`probe` found nothing amiss.

        Raises:
            BackendUnavailable: it cannot be used.
            ValueError: it cannot do what the settings ask for.
        """

    @abstractmethod
    def _ready(self, network: Network, seed: int) -> Run:
        """`network`, with the random weights and input of `seed`, ready to run; it has run at least once.

        Raises:
            CannotRun: it cannot be run.
        """

    def _made_ready(self, network: Network, seed: int) -> Run:
        """:meth:`_ready`; where memory runs out the network fails, not the run."""
        try:
            return self._ready(network, seed)
        except CannotRun:
            raise
        except RuntimeError as error:  # torch's, which also holds what other libraries compute with
            reason = " ".join(str(error).split())
            if any(text in reason for text in NO_MEMORY):
                raise CannotRun(f"out of memory: {reason[:200]}") from error
            raise

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        cuts = self._block_cuts(blocks)
        failed: dict[Block, str] = {}
        found: list[Measurement] = []
        with self.device.active():
            for cut in cuts:
                try:
                    found += self._block_costs(Plan(tuple(blocks[cut])))
                except BlocksFailed as some:
                    failed |= some.reasons
        if failed:
            raise BlocksFailed(failed)
        return found

    def as_they_come(self, blocks: Sequence[Block]) -> Iterator[Batch]:
        """Part by part, as many blocks as fit the memory together: what is done is given before the next is begun."""
        for start in range(0, len(blocks), BATCH_OF_BLOCKS):
            batch = blocks[start : start + BATCH_OF_BLOCKS]
            for cut in self._block_cuts(batch):
                yield self._attempt(batch[cut])

    def _block_cuts(self, blocks: Sequence[Block]) -> list[slice]:
        sizes = [sum(map(self._held_bytes, Plan((block,)).networks)) for block in blocks]
        return parts(sizes, self.device.memory_bytes)

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        cuts = parts([self._held_bytes(network) for network in networks], self.device.memory_bytes)
        with self.device.active():
            return [found for cut in cuts for found in self._network_times(networks[cut])]

    def _held_bytes(self, network: Network) -> int:
        size = (network, self.settings.batch, self.element_bytes[self.settings.precision])
        return held_bytes(*size) + (0 if self.shares_activations else working_bytes(*size))

    def _block_costs(self, plan: Plan) -> list[Measurement]:
        runs = self._ready_all(plan)
        cases = [case for triple in plan.triples for case in self._cases([runs[n] for n in triple])]
        each = len(cases) // len(plan.blocks)
        groups = np.arange(len(cases)).reshape(-1, each).tolist()
        timing, conditions = self._time(cases, self.timings.blocks, groups)
        ratios = timing.ratios.reshape(len(plan.blocks), each, -1).swapaxes(0, 1)
        longer, shorter, *others = ratios
        left_out = timing.paired.left_out.reshape(len(plan.blocks), each).mean(axis=1)
        paired = replace(timing.paired, left_out=left_out)
        costs = plan.costs(longer, shorter)
        found = self._summarise(costs, paired, conditions, self.timings.blocks)
        medians = np.nanmedian(others, axis=2) * self.beside.reference_ms
        if self._counter:
            found = _with_energies(found, self._block_energies(plan, runs))
        return [
            bounded(
                replace(
                    m, details=(*zip(("alone_ms", "flushed_ms"), own.tolist(), strict=False), *m.details)
                ),
                SMALLEST * self.beside.reference_ms,
            )
            for m, own in zip(found, medians.T, strict=True)
        ]

    def _cases(self, triple: Sequence[Run]) -> list[Case]:
        """Of a block: the pair, the block alone, and, where that can be done, alone with cold caches."""
        cold = self.device.flushed(triple[-1])
        return [*map(self.device.case, triple), *([cold] if cold else [])]

    def _network_times(self, networks: Sequence[Network]) -> list[Measurement]:
        runs = []
        with self.progress("making networks ready", len(networks)) as advance:
            for network in networks:
                runs.append(self._made_ready(network, self.settings.seed))
                advance(1)
        cases = list(map(self.device.case, runs))
        timing, conditions = self._time(cases, self.timings.networks)
        found = self._summarise(timing.ratios, timing.paired, conditions, self.timings.networks)
        return _with_energies(found, self._energies(runs)) if self._counter else found

    # --- energy ---

    def _block_energies(self, plan: Plan, runs: Mapping[Network, Run]) -> list[list[Energy]]:
        """Of each block of `plan`, by round; networks that several blocks need are measured once."""
        pairs = dict.fromkeys(n for context in plan.contexts for n in (context.longer, context.shorter))
        of = dict(zip(pairs, self._energies([runs[n] for n in pairs]), strict=True))
        return [energy.difference(of[c.longer], of[c.shorter], c.copies) for c in plan.contexts]

    def _energies(self, runs: Sequence[Run]) -> list[list[Energy]]:
        """Of each run, by round."""
        counter, clock = self._counter, self.device.clocks.wall
        assert counter is not None
        began = clock()
        with self.progress("counting energy", energy.ROUNDS * len(runs)) as advance:

            def measure(run: Run) -> Energy:
                found = energy.energy_of(self.device.begin(run), counter, clock=clock, least_s=energy.LEAST_S)
                advance(1)
                return found

            energies = energy.in_turns(runs, measure)
        self.timing_s += clock() - began
        return energies

    def _ready_all(self, plan: Plan) -> dict[Network, Run]:
        """Each network of `plan`, ready to run.

        Raises:
            BlocksFailed: some are not to be had.
        """
        runs: dict[Network, Run] = {}
        failed: dict[Block, str] = {}
        with self.progress("making blocks ready", len(plan.networks)) as advance:
            for network in plan.networks:
                try:
                    runs[network] = self._made_ready(network, self.settings.seed)
                except CannotRun as reason:
                    failed |= dict.fromkeys(plan.of(network), str(reason))
                advance(1)
        if failed:
            raise BlocksFailed(failed)
        return runs

    def _time(
        self,
        cases: Sequence[Case],
        settings: TimingSettings,
        groups: Sequence[Sequence[int]] | None = None,
    ) -> tuple[Timing, Conditions]:
        self.device.warm_up(self.beside.pacer.case)
        self.device.conditions()  # those of the warm-up are nobody's
        timing = time_beside(self.beside.pacer, cases, settings, seed=self.settings.seed, groups=groups)
        self.timing_s += timing.timing_s
        return timing, self.device.conditions()

    def _sampled(self, case: Case) -> Case:
        """`case`, with a look at the device's state after each loop."""

        def sampled(repeats: int) -> Reading:
            reading = case(repeats)
            self.device.sample()
            return reading

        return sampled

    def _summarise(
        self, ratios: Floats, paired: Paired, conditions: Conditions, settings: TimingSettings
    ) -> list[Measurement]:
        found = summarise(ratios, self.beside.reference_ms, settings, paired=paired, seed=self.settings.seed)
        return [
            replace(m, details=(*m.details, *conditions.details), noisy=m.noisy or conditions.throttled)
            for m in found
        ]


def _with_energies(found: Sequence[Measurement], energies: Sequence[Sequence[Energy]]) -> list[Measurement]:
    return [
        replace(m, details=(*m.details, *energy.details(rounds)))
        for m, rounds in zip(found, energies, strict=True)
    ]
