"""ONNX Runtime on the host's processor; :mod:`backends.measuring.rotation` says how a block's cost is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from backends.base import BATCH_OF_BLOCKS, Backend, Measurement, Network, Option, Settings, Target
from backends.machine.clocks import Case, Run, host_clocks
from backends.machine.host import check_threads, cpu_name, package_versions
from backends.measuring import METHOD
from backends.measuring.backend import PairedBackend
from backends.measuring.differencing import held_bytes, working_bytes
from backends.measuring.rotation import BLOCK_TIMING, NETWORK_TIMING, Bench
from backends.measuring.timing import TimingSettings
from backends.onnxruntime_int8 import QUANTIZATION, part_of_network
from backends.onnxruntime_threads import IN_CHAINS, ManyThreads
from compofa.blocks import Block
from compofa.errors import InputError, RunFailed
from compofa.graph import network_to_onnx

if TYPE_CHECKING:
    import onnxruntime

T = TypeVar("T")

PROVIDERS = ["CPUExecutionProvider"]
OTHER_PROVIDERS = ("cuda", "tensorrt", "nv_tensorrt_rtx", "openvino")
PRECISIONS = ("fp32", "int8")


class OnnxRuntimeBackend(PairedBackend):
    """ONNX Runtime's CPU provider, all graph optimisations on, input and output bound beforehand; or, with the
    option ``provider``, another one (:mod:`backends.onnxruntime_providers`).

    Args:
        settings: precision ``fp32`` or ``int8`` (:mod:`backends.onnxruntime_int8`); `threads` run inside an operator,
            operators run one after the other, and with several blocks are measured in chains
            (:mod:`backends.onnxruntime_threads`); option ``provider``.
        block_timing, network_timing: how long and how carefully to time.
    """

    name = "onnxruntime"
    options = (Option("provider", "execution provider", "cpu", ("cpu", *OTHER_PROVIDERS)),)

    def __init__(
        self,
        settings: Settings,
        *,
        block_timing: TimingSettings = BLOCK_TIMING,
        network_timing: TimingSettings = NETWORK_TIMING,
    ) -> None:
        super().__init__(settings)
        self.block_timing, self.network_timing = block_timing, network_timing
        self.clocks = host_clocks(settings.threads)
        self._other: Backend | None = None
        if self.option("provider") != "cpu":
            from backends.onnxruntime_providers import ProviderBackend

            self._other = ProviderBackend(settings)
            return
        _check(settings)
        if settings.threads > 1:
            self._other = ManyThreads(settings, self)

    @classmethod
    def probe(cls) -> str | None:
        missing = [package for package in ("onnx", "onnxruntime") if find_spec(package) is None]
        if missing:
            return f"{' and '.join(missing)} cannot be imported; install with: pip install 'hwbench[onnxruntime]'"
        return None

    @classmethod
    def options_of(cls, target: Target) -> dict[str, str]:
        """A target names the provider as ONNX Runtime does, the option more shortly."""
        from backends.onnxruntime_providers import PROVIDERS as OTHERS

        named = dict(target.details).get("provider")
        short = [short for short, provider in OTHERS.items() if provider.name == named]
        return {"provider": short[0]} if short else {}

    @property
    def target(self) -> Target:
        if self._other and self.option("provider") != "cpu":
            return self._other.target
        return Target(
            backend=self.name,
            device=cpu_name(),
            precision=self.settings.precision,
            batch=self.settings.batch,
            threads=self.settings.threads,
            versions=package_versions(["onnxruntime"]),
            details=(
                *((IN_CHAINS,) if self.settings.threads > 1 else ()),
                ("clock", self.clocks.name),
                ("graph_optimization", "all"),
                ("provider", PROVIDERS[0]),
                *((("quantization", QUANTIZATION),) if self.settings.precision == "int8" else ()),
                ("timing", METHOD),
            ),
        )

    @property
    def reference_target(self) -> Target:
        """The reference is the same work in fp32: so tables of either precision are in the same milliseconds."""
        details = tuple(detail for detail in self.target.details if detail[0] != "quantization")
        return replace(self.target, precision="fp32", details=details)

    @property
    def reference(self) -> dict[str, Any] | None:
        return self._other.reference if self._other else super().reference

    def use_reference(self, reference: Any) -> None:
        if self._other:
            self._other.use_reference(reference)
        else:
            super().use_reference(reference)

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        if self._other:
            return self._by_other(self._other.block_latencies, blocks)
        found, timing_s = self._bench.blocks(blocks, self.block_timing)
        self.timing_s += timing_s
        return found

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        if self._other:
            return self._by_other(self._other.network_latencies, networks)
        found, timing_s = self._bench.networks(networks, self.network_timing)
        self.timing_s += timing_s
        return found

    @property
    def _bench(self) -> Bench:
        return Bench(self._case, self.beside, self.settings.seed, self._holds)

    def _holds(self, block: Block) -> int:
        """In fp32, which is the most."""
        batch, of_fp32 = self.settings.batch, 4
        return held_bytes((block,), batch, of_fp32) + working_bytes((block,), batch, of_fp32)

    def _by_other(
        self, measure: Callable[[Sequence[T]], list[Measurement]], what: Sequence[T]
    ) -> list[Measurement]:
        assert self._other is not None
        self._other.progress, self._other.say = self.progress, self.say
        found = measure(what)
        self.timing_s = self._other.timing_s or 0.0
        return found

    def _case(self, network: Network, seed: int) -> Case:
        return self.clocks.case(self.run_of(network, seed))

    def _reference_case(self, network: Network) -> Case:
        return self.clocks.case(self.reference_run(network))

    def run_of(self, network: Network, seed: int) -> Run:
        """One run of `network`, with the random weights and input of `seed`, in the precision asked for."""
        return bound_run(open_session(self._model(network, seed), self.settings.threads), seed)

    def reference_run(self, network: Network) -> Run:
        """One run of `network` in fp32."""
        return bound_run(open_session(self._plain(network, 0), self.settings.threads), 0)

    def _model(self, network: Network, seed: int) -> bytes:
        if self.settings.precision != "int8":
            return self._plain(network, seed)
        # Quantising takes longer than timing: copies of a block have memory of their own, but the same weights.
        return self._quantised_once(network) if len(network) == 1 else self._quantised(network)

    def _plain(self, network: Network, seed: int) -> bytes:
        content: bytes = network_to_onnx(network, batch=self.settings.batch, seed=seed).SerializeToString()
        return content

    def _quantised(self, network: Network) -> bytes:
        model = part_of_network(network, batch=self.settings.batch, seed=self.settings.seed)
        content: bytes = model.SerializeToString()
        return content

    @cached_property
    def _quantised_once(self) -> Callable[[Network], bytes]:
        return lru_cache(maxsize=2 * BATCH_OF_BLOCKS)(self._quantised)


def _check(settings: Settings) -> None:
    if settings.precision not in PRECISIONS:
        raise InputError(
            f"backend onnxruntime has no precision {settings.precision!r}; it has {', '.join(PRECISIONS)}"
        )
    if settings.batch < 1 or settings.threads < 1:
        raise InputError(f"batch and threads must be at least 1, not {settings.batch} and {settings.threads}")
    check_threads(settings.threads)


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """How whatever is timed runs: operators one after the other, all graph optimisations on."""
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
    return options


def open_session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """An inference session on the CPU provider.

    Raises:
        RuntimeError: ONNX Runtime chose another provider, as it does silently when one cannot start.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(model, session_options(threads), providers=PROVIDERS)
    if session.get_providers() != PROVIDERS:
        raise RunFailed(f"ONNX Runtime runs on {session.get_providers()}, not on {PROVIDERS} as asked")
    return session


NUMPY_TYPES = {"float": "float32", "double": "float64"}
"""ONNX Runtime's names of element types that NumPy calls otherwise."""


def numpy_type(ort_type: str) -> str | None:
    """The element type of a tensor, from ONNX Runtime's ``tensor(...)``; None of what is no tensor."""
    found = re.fullmatch(r"tensor\((\w+)\)", ort_type)
    return NUMPY_TYPES.get(found[1], found[1]) if found else None


def bound_run(
    session: onnxruntime.InferenceSession, seed: int, device: str = "cpu"
) -> Callable[[], list[onnxruntime.OrtValue]]:
    """One run of a model with one input and one output, both bound beforehand on `device`; the input is random. A run
    returns once its work is done, with input and output."""
    import onnxruntime

    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    arrays = (_random(given, seed), np.zeros(taken.shape, numpy_type(taken.type)))
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array, device, 0) for array in arrays]
    binding = session.io_binding()
    binding.bind_ortvalue_input(given.name, values[0])
    binding.bind_ortvalue_output(taken.name, values[1])

    def run() -> list[onnxruntime.OrtValue]:
        session.run_with_iobinding(binding)
        return values

    return run


def _random(given: onnxruntime.NodeArg, seed: int) -> NDArray[Any]:
    rng, dtype = np.random.default_rng(seed), np.dtype(numpy_type(given.type))
    if dtype.kind == "u":
        return rng.integers(0, np.iinfo(dtype).max, given.shape, dtype, endpoint=True)
    return rng.standard_normal(given.shape, dtype=np.float32).astype(dtype)
