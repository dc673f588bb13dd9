"""ONNX Runtime on the host's processor; :mod:`backends.in_context` says how a block's cost is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from backends.base import Backend, Measurement, Network, Settings, Target
from backends.host import cpu_name, package_versions
from backends.in_context import BLOCK_TIMING, NETWORK_TIMING, SENTINEL, time_blocks, time_networks
from backends.timing import Case, Sentinel, TimingSettings, host_timed
from compofa.blocks import Block
from compofa.graph import network_to_onnx

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = ["CPUExecutionProvider"]
PRECISIONS = ("fp32",)


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
        found, timing_s = time_blocks(
            blocks, self._case, self.block_timing, self._sentinel, self.settings.seed
        )
        self.timing_s += timing_s
        return found

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        found, timing_s = time_networks(
            networks, self._case, self.network_timing, self._sentinel, self.settings.seed
        )
        self.timing_s += timing_s
        return found

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
