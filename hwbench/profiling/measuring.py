"""Profiling: a model is optimised, its kernels are timed, and so is the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.base import Measurement, Settings, no_progress, nobody_hears
from backends.kernels.bench import KernelBench, KernelTimes
from backends.kernels.files import ModelFile
from backends.kernels.runtime import Cut, Made
from backends.kernels.runtimes import RUNTIMES, runtime
from backends.measuring.timing import TimingSettings
from hwbench.profiling.profiles import Ceilings, Node, Profile

if TYPE_CHECKING:
    from backends.base import Progress
    from backends.kernels.kernel import Kernel

CEILING_TIMING = TimingSettings(rounds=5, rotation=1, round_ms=4.0)
PRODUCT_SIDE = 512
MEMORY_BYTES, CACHE_BYTES = 2**25, 2**18
"""Read, and as much written: what no cache holds, and what the core's own does."""


class Profiler:
    """Profiles models on this machine, one after the other, beside one reference.

    Args:
        threads: of one run.
        seed: of inputs and the order of visits.
        progress: told of kernels that are done.
        say: told what whoever measures should know.

    Raises:
        InputError: there is no such runtime.
        BackendUnavailable: it is not installed.
    """

    def __init__(
        self,
        threads: int = 1,
        seed: int = 0,
        progress: Progress = no_progress,
        say: Callable[[str], None] = nobody_hears,
        backend: str = next(iter(RUNTIMES)),
    ) -> None:
        self.runtime = runtime(backend, Settings(threads=threads, seed=seed))
        self.backend = self.runtime.backend
        self.backend.say = say
        self.threads, self.seed, self.progress = threads, seed, progress

    @cached_property
    def bench(self) -> KernelBench:
        """Made when something is timed first: until then a table may tell the reference."""
        backend = self.backend
        return KernelBench(backend.beside, backend.clocks, self.runtime, self.seed, self.progress)

    @cached_property
    def ceilings(self) -> Ceilings:
        """Of this machine, measured when they are asked for first."""
        models = [_product_model(), _memory_model(MEMORY_BYTES), _memory_model(CACHE_BYTES)]
        cases = [self.bench.case(*model) for model in models]
        product, memory, cache = (m.latency_ms for m in self.bench.networks(cases, CEILING_TIMING)[0])
        return Ceilings(
            2 * PRODUCT_SIDE**3 / product / 1e6,
            2 * MEMORY_BYTES / memory / 1e6,
            2 * CACHE_BYTES / cache / 1e6,
        )

    def profile(
        self, model: ModelFile, precision: str = "fp32", clock: Callable[[], float] = time.monotonic
    ) -> Profile:
        """Where the time of `model` goes.

        Raises:
            InputError: the runtime cannot run it.
        """
        start = clock()
        with self.runtime.made(model) as made:
            latency, differs = self._whole(made)
            times = self.bench.kernels(made)
            again, _ = self._whole(made)
            nodes = tuple(_node(cut, times) for cut in made.cuts)
        notes = _notes(nodes)
        if differs:
            notes.append("its output is not deterministic: two runs on the same input differ")
        if precision == "fp16" and not any(_computes_in_half(node) for node in nodes):
            notes.append(
                "ONNX Runtime computes this model in fp32 on this processor: it has no kernels in fp16 for it"
            )
        return Profile(
            model=model.name,
            target=replace(self.backend.target, precision=precision),
            precision=precision,
            latency=latency,
            again=again,
            nodes=nodes,
            kernels=times.measured,
            failed=times.failed,
            ceilings=self.ceilings,
            notes=tuple(notes),
            seconds=clock() - start,
        )

    def whole(self, made: Made) -> Measurement:
        """The latency of a model, and nothing else."""
        return self._whole(made)[0]

    def _whole(self, made: Made) -> tuple[Measurement, bool]:
        """The latency, and whether two runs give different outputs."""
        one, other = (made.outputs_once() for _ in range(2))
        differs = any(not _equal(one[name], other[name]) for name in one)
        (found,), _ = self.bench.networks([self.bench.network_case(made.whole_run())])
        return found, differs


def _computes_in_half(node: Node) -> bool:
    tensors = node.kernel.inputs if node.kernel and node.op != "Cast" else ()
    return any(t.dtype == "float16" for t in tensors if t)


def _equal(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray):
        return True  # a list of tensors: not looked at
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def _node(cut: Cut, times: KernelTimes) -> Node:
    found = times.measured.get(cut.kernel) if cut.kernel else None
    why_not = cut.why_not or (times.failed.get(cut.kernel, "") if cut.kernel else "")
    return Node(cut.name, cut.layer, cut.op, cut.kernel, found.latency_ms if found else None, why_not)


def _notes(nodes: Sequence[Node]) -> list[str]:
    unknown = {node.op: node for node in nodes if node.why_not}
    return [
        f"{op} ({node.name or 'without a name'}) is not timed alone: {node.why_not}"
        for op, node in unknown.items()
    ]


def network_kernels(made: Made) -> Mapping[Kernel, int]:
    """How often a model runs which kernel."""
    counts: dict[Kernel, int] = {}
    for cut in made.cuts:
        if cut.kernel:
            counts[cut.kernel] = counts.get(cut.kernel, 0) + 1
    return counts


# --- ceilings ---


def _product_model() -> tuple[bytes, dict[str, Any]]:
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    shape = (PRODUCT_SIDE, PRODUCT_SIDE)
    one, other = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return _model(node, shape, [numpy_helper.from_array(other, "w")]), {"x": one}


def _memory_model(size_bytes: int) -> tuple[bytes, dict[str, Any]]:
    from onnx import helper

    shape = (size_bytes // 4,)
    return _model(helper.make_node("Neg", ["x"], ["y"]), shape, []), {"x": np.ones(shape, np.float32)}


def _model(node: Any, shape: Sequence[int], constants: Sequence[Any]) -> bytes:
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y"))
    graph = helper.make_graph([node], "ceiling", [x], [y], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = made.SerializeToString()
    return content
