from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from backends.base import Measurement, Target
from backends.kernels.costs import moved_bytes, operations
from backends.kernels.kernel import Kernel
from lut.kernels.table import Header, KernelTable, NetworkEntry

TARGET = Target("onnxruntime", "a CPU", versions=(("onnxruntime", "1.2"),))


def kernel(rng: np.random.Generator) -> Kernel:
    """A random pointwise or dense convolution, product, or sum."""
    kind = rng.integers(4)
    channels, out = (int(8 * rng.integers(2, 30)) for _ in range(2))
    side = int(rng.choice((7, 14, 28)))
    activation = f"float32 1x{channels}x{side}x{side}"
    fields = {"since": 11, "op": "Conv", "outputs": [f"float32 1x{out}x{side}x{side}"]}
    if kind == 0:
        fields |= {"inputs": [activation, f"float32 {out}x{channels}x1x1 constant"]}
    elif kind == 1:
        fields |= {"inputs": [activation, f"float32 {out}x{channels}x3x3 constant"]}
    elif kind == 2:
        fields |= {"op": "Add", "inputs": [activation] * 2, "outputs": [activation]}
    else:
        fields |= {
            "op": "Gemm",
            "inputs": [f"float32 {side}x{channels}", f"float32 {channels}x{out} constant"],
        }
        fields |= {"outputs": [f"float32 {side}x{out}"]}
    return Kernel.from_dict(fields)


def true_ms(one: Kernel) -> float:
    """A machine of 50 GFLOP/s and 10 GB/s, up to 15 % off that for reasons of its own."""
    own = 1 + 0.15 * (int(one.key[:4], 16) / 2**15 - 1)
    return own * max(operations(one) / 50e6, moved_bytes(one) / 10e6) + 0.001


def measured(ms: float) -> Measurement:
    return Measurement("measured", ms, 0.98 * ms, 1.02 * ms)


def network(rng: np.random.Generator, nodes: int = 20) -> dict[Kernel, int]:
    found: dict[Kernel, int] = {}
    for _ in range(nodes):
        one = kernel(rng)
        found[one] = found.get(one, 0) + int(rng.integers(1, 3))
    return found


def network_ms(counts: dict[Kernel, int], rng: np.random.Generator) -> float:
    """With 2 us for each node, and noise of 1 %."""
    total = sum(n * (true_ms(k) + 0.002) for k, n in counts.items())
    return total * float(rng.normal(1, 0.01))


@pytest.fixture(scope="session")
def made_table() -> Callable[..., KernelTable]:
    """A table of a made-up machine."""

    def make(networks: int = 16, known: float = 1.0, seed: int = 0) -> KernelTable:
        rng = np.random.default_rng(seed)
        table = KernelTable(Header(TARGET, "2026-01-01T00:00:00+00:00"))
        for number in range(networks):
            counts = network(rng)
            for one in counts:
                table.add(one, measured(true_ms(one)) if rng.random() < known else None)
            keys = {one.key: n for one, n in counts.items()}
            whole = measured(network_ms(counts, rng))
            table.add(NetworkEntry(f"n{number}", keys, sum(keys.values()), whole))
        return table

    return make


@pytest.fixture(scope="session")
def unseen() -> list[tuple[dict[Kernel, int], float]]:
    """Other networks of that machine, and their latencies."""
    rng = np.random.default_rng(99)
    networks = [network(rng) for _ in range(30)]
    return [(counts, network_ms(counts, rng)) for counts in networks]
