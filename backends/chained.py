"""A backend that finds what a block costs inside a network, on a host or a GPU."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from backends.base import Backend, BlocksFailed, CannotRun, Measurement, Network, Settings
from backends.device import Conditions, Device, Run
from backends.in_context import SMALLEST_MS, Floats, Plan, held_bytes, parts, working_bytes
from backends.timing import Case, Sentinel, Timing, TimingSettings, summarise, time_interleaved
from compofa.blocks import Block
from compofa.errors import InputError

SENTINEL: Network = (
    Block("mbconv", (40, 20, 20), 40, 120, kernel=5, se=True, act="hswish", shortcut=True),
) * 2
"""Every operator that the networks use."""


@dataclass(frozen=True)
class Timings:
    """How long and how carefully blocks and networks are timed."""

    blocks: TimingSettings
    networks: TimingSettings


CPU_TIMINGS = Timings(
    blocks=TimingSettings(rounds=11, max_rounds=22, inner_ms=0.0, round_ms=6.0),
    networks=TimingSettings(rounds=11, max_rounds=22, inner_ms=0.0, rotation=1, round_ms=20.0),
)
"""Single runs: where others use the processor, too, the median over runs leaves out those that were
interrupted."""
GPU_TIMINGS = Timings(
    blocks=TimingSettings(rounds=11, max_rounds=22, inner_ms=1.0, max_warmup_ms=20.0),
    networks=TimingSettings(rounds=11, max_rounds=22, inner_ms=3.0, max_warmup_ms=50.0),
)
"""Inner loops, as the events that time them resolve half a microsecond."""


class ChainBackend(Backend):
    """Costs of blocks by :mod:`backends.in_context`, whatever the runtime.

    A subclass says how a network is made ready (:meth:`_ready`) and what its elements take. Besides the cost,
    ``alone_ms`` and (where caches can be flushed) ``flushed_ms`` of each block are kept: the block run alone,
    the call included.

    Args:
        settings: how to run.
        timings: how to time.
    """

    timing_s: float
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
        self.timing_s = 0.0
        self._watch: Sentinel | None = None

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

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        plans = [Plan((block,)) for block in blocks]
        sizes = [sum(map(self._held_bytes, plan.networks)) for plan in plans]
        cuts = parts(sizes, self.device.memory_bytes)
        with self.device.active():
            return [found for cut in cuts for found in self._block_costs(Plan(tuple(blocks[cut])))]

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
        longer_ms, shorter_ms, alone_ms, *flushed_ms = timing.rounds_ms.reshape(
            len(plan.blocks), each, -1
        ).swapaxes(0, 1)
        costs_ms = plan.costs_ms(longer_ms, shorter_ms)
        found = self._summarise(costs_ms, timing, conditions, self.timings.blocks)
        names = ("alone_ms", "flushed_ms")
        medians = [np.median(rounds_ms, axis=1).tolist() for rounds_ms in (alone_ms, *flushed_ms)]
        return [
            replace(
                m,
                details=(*zip(names, others, strict=False), *m.details),
                noisy=m.noisy or m.low_ms <= SMALLEST_MS,
            )
            for m, others in zip(found, zip(*medians, strict=True), strict=True)
        ]

    def _cases(self, triple: Sequence[Run]) -> list[Case]:
        """Of a block: the pair, the block alone, and, where that can be done, alone with cold caches."""
        cold = self.device.flushed(triple[-1])
        return [*map(self.device.case, triple), *([cold] if cold else [])]

    def _network_times(self, networks: Sequence[Network]) -> list[Measurement]:
        cases = []
        with self.progress("making networks ready", len(networks)) as advance:
            for network in networks:
                cases.append(self.device.case(self._ready(network, self.settings.seed)))
                advance(1)
        timing, conditions = self._time(cases, self.timings.networks)
        return self._summarise(timing.rounds_ms, timing, conditions, self.timings.networks)

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
                    runs[network] = self._ready(network, self.settings.seed)
                except CannotRun as reason:
                    failed |= dict.fromkeys(plan.of(network), str(reason))
                advance(1)
        if failed:
            raise BlocksFailed(failed)
        return runs

    def _time(
        self, cases: Sequence[Case], settings: TimingSettings, groups: Sequence[Sequence[int]] | None = None
    ) -> tuple[Timing, Conditions]:
        self._watch = self._watch or Sentinel(self._sampled(self.device.case(self._ready(SENTINEL, 0))))
        self.device.warm_up(self._watch.case)
        self.device.conditions()  # those of the warm-up are nobody's
        seed = self.settings.seed
        timing = time_interleaved(cases, settings, sentinel=self._watch, seed=seed, groups=groups)
        self.timing_s += timing.timing_s
        return timing, self.device.conditions()

    def _sampled(self, case: Case) -> Case:
        """`case`, with a look at the device's state after each loop."""

        def sampled(repeats: int) -> float:
            seconds = case(repeats)
            self.device.sample()
            return seconds

        return sampled

    def _summarise(
        self, rounds_ms: Floats, timing: Timing, conditions: Conditions, settings: TimingSettings
    ) -> list[Measurement]:
        steady = timing.steady and not conditions.throttled
        found = summarise(rounds_ms, settings, steady=steady, seed=self.settings.seed)
        return [replace(m, details=conditions.details) for m in found]
