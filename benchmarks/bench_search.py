"""Search against the published evolutionary search, in one process, on the same latencies and accuracies.

OFA's space on the published Note10 tables (the folder that HWBENCH_SHARED_DATA names, or ../shared/data), CompOFA's
at 25 resolutions on modelled latencies, both with a predictor in the published format that is fitted to a made-up,
non-additive accuracy. The evolutionary search asks for latencies one subnet at a time, block by block, as published;
the last column gives its time with our array tables instead, for what the search itself is worth.
All times are processor seconds of one thread, which other work on the machine disturbs least.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import resource
import time
from dataclasses import replace

import numpy as np
from evolutionary import Evolution, Genome, evolve
from shared_data import SHARED
from synthetic_accuracy import fit_synthetic

from compofa.accuracy_predictor import AccuracyPredictor
from compofa.arch import Arch, arch_blocks
from compofa.families import Family, get_family
from compofa.genotype import encode
from compofa.published_accuracy import RESOLUTIONS, from_published
from compofa.spaces import Space, get_space
from hwbench.searching.engine import Found, search
from hwbench.searching.problem import Problem
from lut.lookup import Lookup
from lut.ofa_yaml import read_ofa

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


def modelled_lookup(family: Family) -> Lookup:
    """Latencies at all resolutions, 0.05 ms a block and 10 GMAC/s."""
    return Lookup.build(family, lambda block: 0.05 + block.macs / 1e7)


def problem(space: Space, lookup: Lookup, predictor: AccuracyPredictor) -> Problem:
    """What is searched, at every resolution that both know."""
    known = enumerate(space.family.resolutions)
    both = tuple(i for i, r in known if r in predictor.resolutions and np.isfinite(lookup.fixed_ms[i]))
    return Problem(space, (lookup,), predictor.predict, both)


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


def published_search(
    space: Space,
    latency_ms,
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


def compare(
    name: str, lookup: Lookup, predictor: AccuracyPredictor, block_ms, limits_ms, args: argparse.Namespace
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
        return float(lookup.predict_ms(encode(FAMILY, [arch]))[0])

    print(f"{name} on {FAMILY.name}, {len(resolutions)} resolutions; seed {args.seed}")
    print(
        f"{'limit ms':>9} {'search':>9} {'published':>10} {'gain':>8} {'may miss':>9} {'s':>7} {'s, arrays':>10}"
    )
    total = total_arrays = 0.0
    for i, limit in enumerate(limits_ms):
        accuracy, by_block_s = published_search(
            space, by_blocks, predictor, resolutions, limit, args.seed, args.generations
        )
        _, by_array_s = published_search(
            space, by_arrays, predictor, resolutions, limit, args.seed, args.generations
        )
        total, total_arrays = total + by_block_s, total_arrays + by_array_s
        ours = found.best.accuracy[i]
        print(
            f"{limit:9g} {ours:9.5f} {accuracy:10.5f} {ours - accuracy:+8.5f} {found.may_miss[i]:9.5f} "
            f"{by_block_s:7.1f} {by_array_s:10.1f}",
            flush=True,
        )
    print(
        f"search: {1e3 * seconds:.1f} ms for all limits, {found.evaluations:,} subnets evaluated ({found.method})"
    )
    print(f"whole frontier: {1e3 * whole_s:.1f} ms, {len(whole.frontier)} subnets")
    print(
        f"published: {total:.1f} s, x {total / seconds:,.0f}; "
        f"with arrays {total_arrays:.1f} s, x {total_arrays / seconds:,.0f}\n"
    )


def by_resolutions(predictor: AccuracyPredictor, seed: int) -> None:
    """Print how the time grows with the number of resolutions."""
    lookup = modelled_lookup(FAMILY)
    limits = np.array([[30.0], [60.0]])
    print("OFA, two limits, by number of resolutions")
    for count in (5, 10, 15, 20, 25):
        part = Lookup(FAMILY, np.where(np.arange(25) < count, lookup.fixed_ms, np.nan), lookup.slot_ms)
        _, seconds = timed_search(get_space("ofa", FAMILY), part, predictor, limits, seed)
        _, whole = timed_search(get_space("ofa", FAMILY), part, predictor, limits[:0], seed)
        print(f"{count:4} {1e3 * seconds:7.1f} ms, whole frontier {1e3 * whole:7.1f} ms")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--generations", type=int, default=500)
    args = parser.parse_args()
    everywhere = fit_synthetic(FAMILY, args.seed)
    by_resolutions(everywhere, args.seed)
    print(
        f"largest memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB (torch included)\n"
    )
    modelled = {block: 0.05 + block.macs / 1e7 for block in get_space("ofa", FAMILY).all_blocks()}
    compare("compofa", modelled_lookup(FAMILY), everywhere, modelled, (30.0,), args)
    if not (SHARED / "note10_lut").is_dir():
        print(f"no Note10 tables in {SHARED}: that comparison is left out")
        return
    table = read_ofa(SHARED / "note10_lut")
    measured = {block: entry.latency_ms for block, entry in table.entries.items()}
    compare("ofa", table.lookup, published_format(args.seed), measured, LIMITS_MS, args)


if __name__ == "__main__":
    main()
