"""ONNX Runtime on the host's processor.

What a block adds to a network is found by timing the block alone, in rotation with the blocks of its batch,
and taking away the time of an all but empty model in the same rotation. The rotation matters: run over and
over, a block finds its weights in the nearest cache and its branches predicted, and sums over networks come
out low, the more the larger the network. In rotation about as many blocks run between two runs of one as in
a network, and sums come out somewhat high by a nearly constant factor, which calibration takes care of.
Differences between graphs with and without the block were sometimes more and sometimes less exact, need
several graphs a block, and can turn negative for the smallest blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from backends.base import Backend, Measurement, Network, Settings, Target
from backends.host import cpu_name, package_versions
from backends.timing import Case, Sentinel, TimingSettings, host_timed, summarise, time_interleaved
from compofa.blocks import Block, total_params
from compofa.graph import network_to_onnx

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = ["CPUExecutionProvider"]
PRECISIONS = ("fp32",)

EMPTY = Block("pool", (1, 1, 1), 1)
"""One operator that does next to nothing: its time is that of the call."""
SENTINEL = Block("mbconv", (40, 20, 20), 40, 120, kernel=5, se=True, act="hswish", shortcut=True)
"""About 0.1 ms, with every operator the networks use."""

BLOCK_TIMING = TimingSettings(
    rounds=11, max_rounds=22, inner_ms=0.0, max_overhead=1.0, rotation=24, round_ms=6.0
)
"""Single runs, of the empty model too: in a loop its second run would be warm. Reading the clock adds the
same to both and goes with the difference."""
NETWORK_TIMING = TimingSettings(rounds=11, max_rounds=22, inner_ms=0.0, rotation=1, round_ms=20.0)
"""Single runs, one network at a time. The median over runs leaves out those that another process
interrupted; the mean over an inner loop doubled on a busy machine."""

MAX_PARAMS = 40_000_000
"""Parameters held in sessions at a time; a session holds each about twice, in four bytes."""
SMALLEST_MS = 1e-6
"""What a block costs at least; one whose time is lost in that of the call is marked noisy."""


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime's CPU provider, all graph optimisations on, input and output bound beforehand.

    Args:
        settings: precision ``fp32``; `threads` run inside an operator, operators run one after the other.
        block_timing, network_timing: how long and how carefully to time.
    """

    name = "onnxruntime"
    timing_s: float

    def __init__(
        self,
        settings: Settings,
        *,
        block_timing: TimingSettings = BLOCK_TIMING,
        network_timing: TimingSettings = NETWORK_TIMING,
    ) -> None:
        super().__init__(settings)
        _check(settings)
        self.block_timing, self.network_timing = block_timing, network_timing
        self.timing_s = 0.0
        self._sentinel = Sentinel(self._case((SENTINEL,), settings.seed))

    @classmethod
    def probe(cls) -> str | None:
        missing = [package for package in ("onnx", "onnxruntime") if find_spec(package) is None]
        if missing:
            return (
                f"{' and '.join(missing)} cannot be imported; install with: pip install {' '.join(missing)}"
            )
        return None

    @property
    def target(self) -> Target:
        return Target(
            backend=self.name,
            device=cpu_name(),
            precision=self.settings.precision,
            batch=self.settings.batch,
            threads=self.settings.threads,
            versions=package_versions(["onnxruntime"]),
            details=(("graph_optimization", "all"), ("provider", PROVIDERS[0])),
        )

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        if not blocks:
            return []
        # A rotation of few blocks would find them warm: it is filled up with copies, of other weights.
        rotation = (self.block_timing.rotation or 1) - 1
        filled = islice(cycle(blocks), max(len(blocks), rotation))
        cases = [self._case((block,), self.settings.seed + i) for i, block in enumerate((EMPTY, *filled))]
        timing = time_interleaved(cases, self.block_timing, sentinel=self._sentinel, seed=self.settings.seed)
        self.timing_s += timing.timing_s
        empty_ms, blocks_ms = timing.rounds_ms[0], timing.rounds_ms[1 : len(blocks) + 1]
        cost_ms = np.maximum(blocks_ms - empty_ms, SMALLEST_MS)
        found = summarise(cost_ms, self.block_timing, steady=timing.steady, seed=self.settings.seed)
        return [replace(m, noisy=m.noisy or m.low_ms <= SMALLEST_MS) for m in found]

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        return [found for part in _parts(networks) for found in self._time_networks(part)]

    def _time_networks(self, networks: Sequence[Network]) -> list[Measurement]:
        cases = [self._case(network, self.settings.seed) for network in networks]
        timing = time_interleaved(
            cases, self.network_timing, sentinel=self._sentinel, seed=self.settings.seed
        )
        self.timing_s += timing.timing_s
        return summarise(timing.rounds_ms, self.network_timing, steady=timing.steady, seed=self.settings.seed)

    def _case(self, network: Network, seed: int) -> Case:
        model = network_to_onnx(network, batch=self.settings.batch, seed=seed)
        session = open_session(model.SerializeToString(), self.settings.threads)
        return host_timed(bound_run(session, seed))


def _check(settings: Settings) -> None:
    if settings.precision not in PRECISIONS:
        raise ValueError(
            f"backend onnxruntime has no precision {settings.precision!r}; it has {', '.join(PRECISIONS)}"
        )
    if settings.batch < 1 or settings.threads < 1:
        raise ValueError(f"batch and threads must be at least 1, not {settings.batch} and {settings.threads}")


def _parts(networks: Sequence[Network]) -> Iterator[list[Network]]:
    """`networks` in runs that fit in memory together."""
    part: list[Network] = []
    params = 0
    for network in networks:
        size = total_params(network)
        if part and params + size > MAX_PARAMS:
            yield part
            part, params = [], 0
        part.append(network)
        params += size
    if part:
        yield part


def open_session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """An inference session on the CPU provider.

    Raises:
        RuntimeError: ONNX Runtime chose another provider, as it does silently when one cannot start.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Waking a sleeping worker costs more than a small operator: workers spin between operators.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
    # Workers of several open sessions must not spin against each other between runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(model, options, providers=PROVIDERS)
    if session.get_providers() != PROVIDERS:
        raise RuntimeError(f"ONNX Runtime runs on {session.get_providers()}, not on {PROVIDERS} as asked")
    return session


def bound_run(session: onnxruntime.InferenceSession, seed: int) -> Callable[[], None]:
    """One run of a model with one input and one output, both bound beforehand; the input is random."""
    import onnxruntime

    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    x = np.random.default_rng(seed).standard_normal(given.shape, dtype=np.float32)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in (x, np.zeros(taken.shape, np.float32))]
    binding = session.io_binding()
    binding.bind_ortvalue_input(given.name, values[0])
    binding.bind_ortvalue_output(taken.name, values[1])

    def run() -> None:
        session.run_with_iobinding(binding)

    return run
