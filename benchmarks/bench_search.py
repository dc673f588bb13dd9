"""Search against the published evolutionary search, in one process, on the same latencies and accuracies.

OFA's space on the published Note10 tables (the folder that HWBENCH_SHARED_DATA names, or ../shared/data), CompOFA's
at 25 resolutions on modelled latencies, both with a predictor in the published format that is fitted to a made-up,
non-additive accuracy. The evolutionary search asks for latencies one subnet at a time, block by block, as published;
`s, arrays` is its time with our array tables instead, for what the search itself is worth. Where OFA's own package
is installed (see `published_search.py`) its search runs too: `package` and `s, package`.
The floor is the time of the products of the predictor's hidden layers alone, for as many subnets as were looked at.
All times are processor seconds of one thread, which other work on the machine disturbs least.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import published_search
from evolutionary import Evolution, Genome, evolve
from published_search import PublishedSearch
from shared_data import SHARED
from synthetic_accuracy import fit_synthetic

from compofa.accuracy.predictor import CHUNK, AccuracyPredictor
from compofa.accuracy.published import RESOLUTIONS, from_published
from compofa.blocks import Block
from compofa.network import arch_blocks
from compofa.spaces.arch import Arch
from compofa.spaces.family import Family
from compofa.spaces.layout import encode
from compofa.spaces.registry import get_family
from compofa.spaces.space import Space, get_space
from hwbench.searching.engine import Found, search
from hwbench.searching.problem import Problem
from lut.formats.ofa import read_ofa
from lut.lookup import Lookup

LIMITS_MS = (15, 20, 25, 30, 40, 50, 60)
FAMILY = get_family("imagenet-w1.2")


def published_format(seed: int) -> AccuracyPredictor:
    """A predictor of eight resolutions in the published format."""
    fitted = fit_synthetic(replace(FAMILY, resolutions=RESOLUTIONS), seed)
    state = {
        f"{2 * i}.{k}": v
        for i, layer in enumerate(fitted.layers)
        for k, v in zip(("weight", "bias"), layer, strict=True)
    }
    return from_published(FAMILY, state)


@dataclass(frozen=True)
class Latency:
    """Latencies that are what arrays say."""

    lookup: Lookup
    unit = "ms"

    def predict(self, genotypes: np.ndarray) -> np.ndarray:
        """In milliseconds, shape (n,)."""
        return self.lookup.predict(genotypes)

    def as_lookup(self) -> Lookup:
        """The arrays."""
        return self.lookup


def modelled_lookup(family: Family) -> Lookup:
    """Latencies at all resolutions, 0.05 ms a block and 10 GMAC/s."""
    return Lookup.build(family, lambda block, resolution: 0.05 + block.macs / 1e7)


def problem(space: Space, lookup: Lookup, predictor: AccuracyPredictor) -> Problem:
    """What is searched, at every resolution that both know."""
    known = enumerate(space.family.resolutions)
    both = tuple(i for i, r in known if r in predictor.resolutions and np.isfinite(lookup.fixed[i]))
    return Problem(space, (Latency(lookup),), predictor.predict, both)


def timed_search(
    space: Space, lookup: Lookup, predictor: AccuracyPredictor, limits: np.ndarray, seed: int
) -> tuple[Found, float]:
    """The answer and the fewest processor seconds of five runs, each from the arrays of the table."""
    seconds = []
    for _ in range(5):
        start = time.process_time()
        found = search(problem(space, lookup, predictor), limits, seed)
        seconds.append(time.process_time() - start)
    return found, min(seconds)


def timed_evolution(
    space: Space,
    latency_ms: Callable[[Arch], float],
    predictor: AccuracyPredictor,
    resolutions: tuple[int, ...],
    limit: float,
    seed: int,
    generations: int,
) -> tuple[float, float]:
    """Accuracy and processor seconds of the evolutionary search."""
    start = time.process_time()
    _, accuracy = evolve(
        Genome(space, resolutions),
        latency_ms,
        lambda archs: predictor.predict(encode(space.family, archs)),
        limit,
        np.random.default_rng(seed),
        Evolution(generations=generations),
    )
    return accuracy, time.process_time() - start


def floor_seconds(predictor: AccuracyPredictor, subnets: int) -> float:
    """Processor seconds of the products of the predictor's square layers for `subnets`, the fewest of five."""
    weights = [weight for weight, _ in predictor.layers[1:-1]]
    values = np.random.default_rng(0).random((CHUNK, weights[0].shape[1]), dtype=np.float32)
    out, seconds = np.empty_like(values), []
    for _ in range(5):
        start = time.process_time()
        for _ in range(-(-subnets // CHUNK)):
            for weight in weights:
                np.matmul(values, weight.T, out=out)
        seconds.append(time.process_time() - start)
    return min(seconds)


def compare(
    name: str,
    lookup: Lookup,
    predictor: AccuracyPredictor,
    block_ms: Mapping[Block, float],
    limits_ms: Sequence[float],
    args: argparse.Namespace,
    package: PublishedSearch | None = None,
) -> None:
    """Print one comparison."""
    space = get_space(name, FAMILY)
    limits = np.array(limits_ms, dtype=float)[:, None]
    found, seconds = timed_search(space, lookup, predictor, limits, args.seed)
    whole, whole_s = timed_search(space, lookup, predictor, limits[:0], args.seed)
    resolutions = tuple(FAMILY.resolutions[i] for i in problem(space, lookup, predictor).resolutions)

    def by_blocks(arch: Arch) -> float:
        return sum(block_ms[block] for block in arch_blocks(FAMILY, arch))

    def by_arrays(arch: Arch) -> float:
        return float(lookup.predict(encode(FAMILY, [arch]))[0])

    print(f"{name} on {FAMILY.name}, {len(resolutions)} resolutions; seed {args.seed}")
    print(
        f"{'limit ms':>9} {'search':>9} {'published':>10} {'gain':>8} {'may miss':>9} {'s':>7} {'s, arrays':>10} "
        f"{'package':>9} {'s, package':>10}"
    )
    total = total_arrays = total_package = 0.0
    for i, limit in enumerate(limits):
        accuracy, by_block_s = timed_evolution(
            space, by_blocks, predictor, resolutions, limit, args.seed, args.generations
        )
        _, by_array_s = timed_evolution(
            space, by_arrays, predictor, resolutions, limit, args.seed, args.generations
        )
        theirs, package_s = package.run(limit, args.seed) if package else (np.nan, np.nan)
        total, total_arrays = total + by_block_s, total_arrays + by_array_s
        total_package += package_s
        ours = found.best.accuracy[i]
        print(
            f"{limit:9g} {ours:9.5f} {accuracy:10.5f} {ours - accuracy:+8.5f} {found.may_miss[i]:9.5f} "
            f"{by_block_s:7.1f} {by_array_s:10.1f} {theirs:9.5f} {package_s:10.1f}",
            flush=True,
        )
    print(
        f"search: {1e3 * seconds:.1f} ms for all limits, {found.evaluations:,} subnets evaluated ({found.method})"
    )
    floor = floor_seconds(predictor, found.evaluations)
    print(f"floor: {1e3 * floor:.1f} ms for the products of the predictor's hidden layers alone")
    print(f"whole frontier: {1e3 * whole_s:.1f} ms, {len(whole.frontier)} subnets")
    peers = {"our writing of the published search": total, "the same with our arrays": total_arrays}
    if package:
        peers["OFA's package"] = total_package
    for peer, needed in peers.items():
        print(f"{peer}: {needed:.1f} s, x {needed / seconds:,.0f}")
    print()


def by_resolutions(predictor: AccuracyPredictor, seed: int) -> None:
    """Print how the time grows with the number of resolutions."""
    lookup = modelled_lookup(FAMILY)
    limits = np.array([[30.0], [60.0]])
    print("OFA, two limits, by number of resolutions")
    for count in (5, 10, 15, 20, 25):
        part = Lookup(FAMILY, np.where(np.arange(25) < count, lookup.fixed, np.nan), lookup.slots)
        _, seconds = timed_search(get_space("ofa", FAMILY), part, predictor, limits, seed)
        _, whole = timed_search(get_space("ofa", FAMILY), part, predictor, limits[:0], seed)
        print(f"{count:4} {1e3 * seconds:7.1f} ms, whole frontier {1e3 * whole:7.1f} ms")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--generations", type=int, default=500)
    parser.add_argument("--space", choices=("ofa", "compofa"), help="that comparison alone")
    args = parser.parse_args()
    if args.space != "ofa":
        compare_compofa(args)
    if args.space != "compofa":
        compare_ofa(args)


def compare_compofa(args: argparse.Namespace) -> None:
    """CompOFA at 25 resolutions, and how the time of OFA's search grows with them."""
    everywhere = fit_synthetic(FAMILY, args.seed)
    by_resolutions(everywhere, args.seed)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"largest memory so far {memory:.0f} MB (torch included)\n")
    modelled = {block: 0.05 + block.macs / 1e7 for block in get_space("ofa", FAMILY).all_blocks()}
    compare("compofa", modelled_lookup(FAMILY), everywhere, modelled, (30.0,), args)


def compare_ofa(args: argparse.Namespace) -> None:
    """OFA on the Note10 tables, where they are at hand."""
    if not (SHARED / "note10_lut").is_dir():
        print(f"no Note10 tables in {SHARED}: that comparison is left out")
        return
    table = read_ofa(SHARED / "note10_lut")
    measured = {block: entry.latency_ms for block, entry in table.entries.items()}
    predictor = published_format(args.seed)
    package = PublishedSearch(SHARED / "note10_lut", predictor) if published_search.installed() else None
    compare("ofa", table.lookup, predictor, measured, LIMITS_MS, args, package)


if __name__ == "__main__":
    main()
