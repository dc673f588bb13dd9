"""Table lookups a second and the exact CompOFA frontier, on one core, beside their floors.

The floor of a lookup is one NumPy gather of as many entries as it reads; the floor of the frontier is sorting
its points once.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import statistics
import time
from collections.abc import Callable

import numpy as np

from compofa.accuracy import Accuracies
from compofa.spaces.layout import layout
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.frontiers.cloud import Cloud
from lut.calibration import load_model

SUBNETS = 1_000_000
ROUNDS = 9


def median_s(*cases: Callable[[], object]) -> list[float]:
    """Median seconds of each case, in turn over ROUNDS rounds."""
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(ROUNDS):
        for case, found in zip(cases, times, strict=True):
            start = time.perf_counter()
            case()
            found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in times]


def random_genotypes(count: int) -> np.ndarray:
    """Random OFA subnets as genotypes, drawn without the detour over subnet objects."""
    rng = np.random.default_rng(0)
    genotypes = rng.integers(1, 10, (count, layout(GLYPHS).columns), dtype=np.int16)
    genotypes[:, 0] = rng.integers(len(GLYPHS.resolutions), size=count)
    for unit in range(len(GLYPHS.elastic_units)):
        depth, slots = rng.integers(2, 5, size=count), layout(GLYPHS).place(unit)
        for position in range(2, 4):
            genotypes[depth <= position, slots.start + position] = 0
    return genotypes


def main() -> None:
    """Print the figures."""
    model = load_model(shipped.reference_table("glyphs"))
    genotypes = random_genotypes(SUBNETS)
    model.predict(genotypes[:10])  # the lookup arrays are made once per table
    flat = np.random.default_rng(0).standard_normal(4096)
    index = np.random.default_rng(1).integers(0, 4096, (SUBNETS, layout(GLYPHS).slots))
    lookup, gather = median_s(lambda: model.predict(genotypes), lambda: flat[index].sum(1))
    print(f"table lookups     {SUBNETS / lookup / 1e6:.1f} million subnets a second, one core")
    print(f"  floor: gather   {SUBNETS / gather / 1e6:.1f} million a second")

    space = get_space("compofa", GLYPHS)
    accuracies = Accuracies.load(shipped.accuracies("glyphs", "compofa"))
    accuracy = np.array([accuracies.accuracy(arch) for arch in space.enumerate()])

    def frontier() -> Cloud:
        genotypes = space.enumerate_genotypes()
        return Cloud(GLYPHS, genotypes, model.predict(genotypes), accuracy).frontier()

    exact, sort = median_s(frontier, lambda: np.sort(accuracy))
    print(
        f"exact frontier    {1e3 * exact:.2f} ms for all {len(accuracy):,} CompOFA subnets: enumerate, look up, filter"
    )
    print(f"  floor: sort     {1e3 * sort:.3f} ms")


if __name__ == "__main__":
    main()
