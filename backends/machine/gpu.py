"""Timing on an NVIDIA GPU, whatever the runtime: a stream of its own, events, CUDA graphs, clocks.

Work is timed by events on the stream it runs on, in inner loops, after the clocks have come up; nothing is
transferred meanwhile, and inputs are not zero. Compare trtexec: 200 ms of warm-up, CUDA graphs, no transfers.
The second-level cache is as the network leaves it, which is what a block finds in use; a block is also timed
with the cache overwritten before each run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from backends.base import BackendUnavailable
from backends.device import Begin, Conditions, Device, Pending
from backends.machine.clocks import Case, Clock, Reading, Run
from backends.machine.cuda_probe import cuda_reason
from backends.machine.energy_counters import Counter, open_nvml
from backends.machine.gpu_clocks import GpuMonitor, open_monitor, verdict
from compofa.errors import InputError

if TYPE_CHECKING:
    import torch

WARM_RUNS = 3
"""Before a capture: cuDNN has then chosen its algorithms, and all memory is there."""
CLOCKS_UP_S = 0.3
"""Work that brings the clocks from idle to where they stay."""
SAMPLE_EVERY_S = 0.05
"""NVML may take milliseconds to answer (2 to 4 on an H100): not after each loop."""
MEMORY_SHARE = 0.4
"""Of the device's memory, for what is held ready; the rest is for activations."""
FLUSH_FACTOR = 2
"""Times the second-level cache, to overwrite all of it."""


class Gpu(Device):
    """One GPU with a stream of its own.

    Args:
        index: as CUDA counts.
        tf32: products of fp32 may be rounded to ten bits.
        monitor: of its clocks.
        clock: of the host, in seconds.
    """

    def __init__(
        self,
        index: int = 0,
        *,
        tf32: bool = False,
        monitor: GpuMonitor | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        import torch

        super().__init__()
        self.clock = clock
        self.index, self.tf32 = index, tf32
        self.properties = torch.cuda.get_device_properties(index)
        self.memory_bytes = int(MEMORY_SHARE * self.properties.total_memory)
        self.stream = torch.cuda.Stream(index)
        # Replays follow one another on one stream and nobody reads what they leave, so all may share memory.
        self.pool = torch.cuda.graph_pool_handle()
        self._monitor = monitor or open_monitor(str(self.properties.uuid))
        self._flush: torch.Tensor | None = None
        self._sampled_s = -SAMPLE_EVERY_S

    @property
    def name(self) -> str:
        return str(self.properties.name)

    @property
    def clock_name(self) -> str:
        return "events"

    @property
    def inner_ms(self) -> float:
        """Events resolve half a microsecond."""
        return 1.0

    @property
    def versions(self) -> tuple[tuple[str, str], ...]:  # type: ignore[override]
        """CUDA's, cuDNN's and the driver's."""
        import torch

        found = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        found["driver"] = self._monitor.driver
        return tuple(sorted((name, str(value)) for name, value in found.items() if value))

    @property
    def capability(self) -> str:
        """Compute capability, such as ``9.0``."""
        return f"{self.properties.major}.{self.properties.minor}"

    @property
    def stream_handle(self) -> int:
        """CUDA's, of the stream."""
        return int(self.stream.cuda_stream)

    def array(self, values: NDArray[Any]) -> torch.Tensor:
        """A copy of `values` on the GPU."""
        import torch

        return torch.from_numpy(values).to(f"cuda:{self.index}")

    def host(self, array: torch.Tensor) -> NDArray[Any]:
        """A copy on the host of what lies on the GPU."""
        return array.cpu().numpy()

    def synchronize(self) -> None:
        """Wait for all that was begun."""
        self.stream.synchronize()

    @contextmanager
    def active(self) -> Iterator[None]:
        import torch

        precision = torch.get_float32_matmul_precision()
        with ExitStack() as stack:
            stack.callback(torch.set_float32_matmul_precision, precision)
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=self.tf32)
            )
            stack.enter_context(torch.cuda.device(self.index))
            stack.enter_context(torch.cuda.stream(self.stream))
            yield

    def capture(self, run: Run) -> Run:
        import torch

        for _ in range(WARM_RUNS):
            run()
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            output = run()
        # A graph knows addresses only: whoever holds it holds the weights and inputs, too.
        kept = (run, output)

        def replay() -> object:
            graph.replay()
            return kept

        replay()
        self.stream.synchronize()
        return replay

    def case(self, run: Run) -> Case:
        import torch

        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def case(repeats: int) -> Reading:
            with torch.cuda.stream(self.stream):  # a graph is replayed on the stream that is current
                start.record()
                for _ in range(repeats):
                    run()
                end.record()
            end.synchronize()
            return Reading(float(start.elapsed_time(end)) / 1e3 / repeats)

        return case

    def begin(self, run: Run) -> Begin:
        import torch

        def begin(repeats: int) -> Pending:
            end = torch.cuda.Event()
            with torch.cuda.stream(self.stream):
                for _ in range(repeats):
                    run()
                end.record()
            return Queued(end)

        return begin

    def flushed(self, run: Run) -> Case | None:
        """`run` with the second-level cache overwritten before each; only `run` is timed. The overwriting
        also keeps the device busy while the host launches `run`, so no gap is timed."""
        import torch

        if self._flush is None:
            size = FLUSH_FACTOR * self.properties.L2_cache_size
            self._flush = torch.empty(size, dtype=torch.int8, device=f"cuda:{self.index}")
        buffer, once = self._flush, self.case(run)

        def case(repeats: int) -> Reading:
            seconds = 0.0
            for _ in range(repeats):
                buffer.zero_()
                seconds += once(1).seconds
            return Reading(seconds / repeats)

        return case

    def warm_up(self, case: Case) -> None:
        end = self.clock() + CLOCKS_UP_S
        repeats = 1
        while self.clock() < end:
            case(repeats)
            repeats = min(2 * repeats, 1024)

    def sample(self) -> None:
        if (now := self.clock()) - self._sampled_s >= SAMPLE_EVERY_S:
            self._sampled_s = now
            self._monitor.sample()

    def conditions(self) -> Conditions:
        return verdict(self._monitor.take())

    def energy_counter(self) -> Counter:
        return open_nvml(str(self.properties.uuid))


@dataclass(frozen=True)
class Queued:
    """Work on a stream, with the event behind it."""

    end: torch.cuda.Event

    def done(self) -> bool:
        """Whether the stream has come to the event."""
        return bool(self.end.query())

    def wait(self) -> None:
        """Until it has."""
        self.end.synchronize()


def open_gpu(precision: str) -> Gpu:
    """The first GPU that CUDA shows.

    Raises:
        BackendUnavailable: there is none, or torch cannot use it; says why and what to install.
        ValueError: it lacks the precision.
    """
    if reason := cuda_reason():
        raise BackendUnavailable(reason)
    import torch

    if not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        raise BackendUnavailable(
            f"there is a GPU, but torch {torch.__version__}, built for {built}, cannot use it; "
            "install a build of torch for your driver's CUDA"
        )
    gpu = Gpu(tf32=precision == "tf32")
    check_precision(precision, gpu.name, (gpu.properties.major, gpu.properties.minor))
    return gpu


LEAST_CAPABILITY = {"fp32": (3, 0), "fp16": (5, 3), "int8": (6, 1), "tf32": (8, 0), "bf16": (8, 0)}
"""Compute capability from which on a GPU computes in each precision (CUDA C++ Programming Guide, Compute
Capabilities)."""


def check_precision(precision: str, name: str, capability: tuple[int, int]) -> None:
    """Raise ValueError if a GPU of this compute capability lacks the precision."""
    needed = LEAST_CAPABILITY[precision]
    if capability < needed:
        there = ", ".join(p for p, least in LEAST_CAPABILITY.items() if capability >= least)
        raise InputError(
            f"{name} (compute capability {capability[0]}.{capability[1]}) has no {precision}, which takes "
            f"{needed[0]}.{needed[1]}; it has {there}"
        )
