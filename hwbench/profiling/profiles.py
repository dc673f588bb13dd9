"""What a profile of a model holds: plain data, with the sums that are of interest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from backends.base import Measurement, Target
from backends.kernels.costs import moved_bytes, operations
from backends.kernels.kernel import Kernel


@dataclass(frozen=True)
class Ceilings:
    """What this machine reaches at best, measured with the same runtime, threads and clock.

    Args:
        gflops: in a large product of matrices, in 10^9 operations a second.
        memory_gb_s: reading and writing what no cache holds, in 10^9 bytes a second.
        cache_gb_s: likewise of a quarter of a megabyte.
    """

    gflops: float
    memory_gb_s: float
    cache_gb_s: float


@dataclass(frozen=True)
class Node:
    """One node of the optimised model.

    Args:
        name: in that model.
        layer: of the user's model; empty where none can be named.
        op: its operator.
        kernel: what it is; None where it cannot be cut out.
        latency_ms: inside the network; None where it is not known.
        why_not: then, the reason.
    """

    name: str
    layer: str
    op: str
    kernel: Kernel | None
    latency_ms: float | None
    why_not: str = ""


@dataclass(frozen=True)
class KernelShare:
    """A kernel and all nodes that run it.

    Args:
        kernel: which.
        measurement: of one run inside a network.
        nodes: how many run it.
        layers: the user's layers that they are from, in order, each once.
        share: of the sum of all kernels.
    """

    kernel: Kernel
    measurement: Measurement
    nodes: int
    layers: tuple[str, ...]
    share: float

    @property
    def total_ms(self) -> float:
        """Of all its nodes."""
        return self.nodes * self.measurement.latency_ms

    @property
    def gflops(self) -> float:
        """Achieved 10^9 operations a second."""
        return operations(self.kernel) / self.measurement.latency_ms / 1e6

    @property
    def gb_s(self) -> float:
        """Achieved 10^9 bytes a second, every operand counted once."""
        return moved_bytes(self.kernel) / self.measurement.latency_ms / 1e6

    def of_roof(self, ceilings: Ceilings) -> float:
        """How near it comes to what the machine allows at its intensity (memory that no cache holds), as a fraction;
        above 1 where caches help."""
        done, moved = operations(self.kernel), moved_bytes(self.kernel)
        least_ms = max(done / ceilings.gflops, moved / ceilings.memory_gb_s) / 1e6
        return least_ms / self.measurement.latency_ms


@dataclass(frozen=True)
class Group:
    """Some nodes together: those of an operator, or of a layer."""

    name: str
    nodes: int
    total_ms: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Where the time of a model goes. All latencies are measured on `target`, in ms.

    Args:
        model: its name.
        target: where and how it ran.
        precision: ``fp32`` as given, or what the model was made into.
        latency: of the whole model.
        again: a second measurement of it.
        nodes: of the optimised model, in the order of the run.
        kernels: the different ones, with what one run costs inside a network.
        failed: those that cannot run alone, and why.
        ceilings: of the machine.
        notes: what else is to be known, in lines.
        seconds: that the profile took.
    """

    model: str
    target: Target
    precision: str
    latency: Measurement
    again: Measurement
    nodes: tuple[Node, ...] = field(repr=False)
    kernels: Mapping[Kernel, Measurement] = field(repr=False)
    failed: Mapping[Kernel, str] = field(repr=False)
    ceilings: Ceilings
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def latency_ms(self) -> float:
        """Of the whole model: the mean of the two measurements."""
        return (self.latency.latency_ms + self.again.latency_ms) / 2

    @property
    def repeatability_pct(self) -> float:
        """By how much the second measurement differs from the first."""
        return 100 * abs(self.again.latency_ms / self.latency.latency_ms - 1)

    @cached_property
    def sum_ms(self) -> float:
        """Of all kernels."""
        return sum(node.latency_ms or 0.0 for node in self.nodes)

    @property
    def unexplained_ms(self) -> float:
        """What the sum of kernels leaves of the latency; below 0 where alone they take longer than together."""
        return self.latency_ms - self.sum_ms

    @cached_property
    def counts(self) -> Counter[Kernel]:
        """How many nodes run each kernel."""
        return Counter(node.kernel for node in self.nodes if node.kernel)

    @cached_property
    def shares(self) -> list[KernelShare]:
        """The kernels, the one that costs most in all first."""
        layers: dict[Kernel, dict[str, None]] = defaultdict(dict)
        for node in self.nodes:
            if node.kernel and node.layer:
                layers[node.kernel][node.layer] = None
        found = [
            KernelShare(
                kernel,
                m,
                self.counts[kernel],
                tuple(layers[kernel]),
                self._share(self.counts[kernel] * m.latency_ms),
            )
            for kernel, m in self.kernels.items()
        ]
        return sorted(found, key=lambda share: -share.total_ms)

    def by_operator(self) -> list[Group]:
        """Nodes by operator, the most expensive first."""
        return self._grouped(lambda node: node.op)

    def by_layer(self, depth: int | None = None) -> list[Group]:
        """Nodes by the user's layers, the most expensive first.

        Args:
            depth: names are cut to so many parts, as ``blocks.3.mlp`` to ``blocks.3`` at 2; None for whole names.
        """

        def name(node: Node) -> str:
            return ".".join(node.layer.split(".")[:depth]) or "(no layer)"

        return self._grouped(name)

    def _grouped(self, name_of: Callable[[Node], str]) -> list[Group]:
        times: dict[str, float] = defaultdict(float)
        nodes: Counter[str] = Counter()
        for node in self.nodes:
            name = name_of(node)
            times[name] += node.latency_ms or 0.0
            nodes[name] += 1
        found = [Group(name, nodes[name], ms, self._share(ms)) for name, ms in times.items()]
        return sorted(found, key=lambda one: -one.total_ms)

    def _share(self, ms: float) -> float:
        return ms / self.sum_ms if self.sum_ms else 0.0
