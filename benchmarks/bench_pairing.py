"""What timing beside a reference is worth: this way and the one before it, from the same runs, quiet and crowded.

    python benchmarks/bench_pairing.py                          # all of it, about a quarter of an hour
    python benchmarks/bench_pairing.py --family glyphs --load 0 # what a quiet machine gives

At each load (so many processes that spin and stream through memory in turn) all blocks of a family at one resolution
are measured into a table, and random subnets twice, each time made ready anew. Before: the median of the wall times
of all runs, blocks less an empty network. Now: what the program does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from backends.base import Measurement, Network, Settings
from backends.machine.clocks import Case, Reading
from backends.measuring.pairing import Floats
from backends.measuring.rotation import EMPTY
from backends.onnxruntime_cpu import OnnxRuntimeBackend
from compofa.blocks import Block
from compofa.network import arch_blocks
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from lut import laws, model
from lut.header import Header
from lut.scores import mape_pct, reference_noise_pct, scores
from lut.table import Table

SIDES = {"imagenet-w1.0": 160, "glyphs": 24}
BATCH = 32
STREAMED = 16_000_000


class Recording(OnnxRuntimeBackend):
    """Keeps the wall time of each run, too, by network: what the way before this one made of the same runs."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.wall_ms: dict[Network, list[float]] = {}

    def _case(self, network: Network, seed: int) -> Case:
        case, walls = super()._case(network, seed), self.wall_ms.setdefault(network, [])

        def recorded(repeats: int) -> Reading:
            start = time.perf_counter()
            reading = case(repeats)
            walls.append(1e3 * (time.perf_counter() - start) / repeats)
            return reading

        return recorded

    def lone_ms(self, networks: list[Network]) -> Floats:
        """The median of the wall times of each."""
        return np.array([np.median(self.wall_ms[network]) for network in networks])


@dataclass(frozen=True)
class Observed:
    """One table and its networks by one estimator, shape (blocks,), (subnets,), (subnets,); in ms."""

    blocks_ms: Floats
    first_ms: Floats
    second_ms: Floats

    @property
    def mean_ms(self) -> Floats:
        return (self.first_ms + self.second_ms) / 2


@dataclass(frozen=True)
class Hour:
    """What was seen at one load."""

    before: Observed
    now: Observed
    entries: list[Measurement]
    seconds: float
    timing_s: float


def spin() -> None:
    """Keep a core busy with arithmetic."""
    while True:
        pass


def stream() -> None:
    """Keep a core busy with memory."""
    one, other = np.ones(STREAMED), np.ones(STREAMED)
    while True:
        np.add(one, 1.0, out=other)


@contextmanager
def company(count: int) -> Iterator[None]:
    """`count` other processes, every second of them streaming."""
    others = [multiprocessing.Process(target=(spin, stream)[i % 2], daemon=True) for i in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def observe(blocks: tuple[Block, ...], networks: list[Network], seed: int, threads: int) -> Hour:
    """A table and two passes over the networks, now."""
    rng = np.random.default_rng(seed)
    backend = Recording(Settings(threads=threads, seed=seed))
    backend.say = print
    start = time.monotonic()
    order = rng.permutation(len(blocks))
    entries: dict[int, Measurement] = {}
    for at in range(0, len(blocks), BATCH):
        some = order[at : at + BATCH]
        entries |= zip(some.tolist(), backend.block_latencies([blocks[i] for i in some]), strict=True)
    seconds, timing_s = time.monotonic() - start, backend.timing_s
    lone_ms = backend.lone_ms([(block,) for block in blocks]) - backend.lone_ms([(EMPTY,)])
    passes = []
    for _ in range(2):
        backend.wall_ms.clear()
        shuffled = rng.permutation(len(networks))
        found = backend.network_latencies([networks[i] for i in shuffled])
        now = np.empty(len(networks))
        now[shuffled] = [m.latency_ms for m in found]
        passes.append((now, backend.lone_ms(networks)))
    found_ms = np.array([entries[i].latency_ms for i in range(len(blocks))])
    return Hour(
        before=Observed(lone_ms, passes[0][1], passes[1][1]),
        now=Observed(found_ms, passes[0][0], passes[1][0]),
        entries=[entries[i] for i in range(len(blocks))],
        seconds=seconds,
        timing_s=timing_s,
    )


def features(blocks: tuple[Block, ...], networks: list[Network], blocks_ms: Floats, header: Header) -> Floats:
    """Of the networks, from a table of the blocks."""
    entries = {
        b: Measurement("measured", ms, ms, ms) for b, ms in zip(blocks, blocks_ms.tolist(), strict=True)
    }
    return model.features(Table(header, entries), networks)


def report(name: str, seen: Observed, values: Floats, kept: Floats | None) -> None:
    """One row: how networks repeat, how a table predicts them, and by a calibration of another hour."""
    measured = seen.mean_ms
    predicted = laws.leave_one_out(values, measured)
    found = scores(measured, predicted)
    repeats = mape_pct(seen.first_ms, seen.second_ms)
    noise = reference_noise_pct(seen.first_ms, seen.second_ms)
    by_kept = "-" if kept is None else f"{mape_pct(measured, values @ kept):.2f}"
    print(
        f"  {name:7} repeatability {repeats:5.2f} %  noise {noise:5.2f} %  calibrated MAPE {found['mape_pct']:5.2f} %  "
        f"within 5 % {found['within_5_pct']:5.1f} %  Spearman {found['spearman'] or 0:.3f}  "
        f"calibrated in the first hour {by_kept} %"
    )


def within(ratio: Floats, limit: float = 0.04) -> float:
    """Share of the ratios that are so near to 1."""
    return float(np.mean(np.abs(ratio - 1) <= limit))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--load", type=int, nargs="+", default=[0, 2, 6, 0], help="other processes")
    parser.add_argument("--subnets", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    for name in args.family:
        family, side = get_family(name), SIDES[name]
        space = get_space("ofa", family)
        rng = np.random.default_rng(12)
        networks = [arch_blocks(family, space.sample(rng, side)) for _ in range(args.subnets)]
        blocks = tuple(space.all_blocks((side,)))
        header = Header(OnnxRuntimeBackend(Settings()).target, name, "ofa", (side,), "now")
        first: Hour | None = None
        kept: dict[str, Floats] = {}
        for seed, load in enumerate(args.load):
            with company(load):
                hour = observe(blocks, networks, seed, args.threads)
            noisy = sum(m.noisy for m in hour.entries)
            left_out = np.mean([dict(m.details)["left_out_pct"] for m in hour.entries])
            print(
                f"{name} at {side} px beside {load} processes (load average {os.getloadavg()[0]:.1f}): {len(blocks)} "
                f"blocks in {hour.seconds:.1f} s, timing {hour.timing_s:.1f} s; {noisy} noisy, {left_out:.1f} % of "
                "the runs left out"
            )
            for way, seen in (("before", hour.before), ("now", hour.now)):
                values = features(blocks, networks, seen.blocks_ms, header)
                report(way, seen, values, kept.get(way))
                terms = model.choose_terms(values, seen.mean_ms)
                kept.setdefault(way, model.fit(values, seen.mean_ms, terms))
            if first is None:
                first = hour
                continue
            ratio = hour.now.blocks_ms / first.now.blocks_ms
            lone = hour.before.blocks_ms / first.before.blocks_ms
            held = np.mean(
                [
                    a.low_ms <= b.latency_ms <= a.high_ms
                    for a, b in zip(first.entries, hour.entries, strict=True)
                ]
            )
            print(
                f"  against the first table: median ratio {np.median(ratio):.3f} (before: {np.median(lone):.3f}), "
                f"{within(ratio):.0%} of the blocks within 4 % (before: {within(lone):.0%}), "
                f"{held:.0%} within the first one's intervals"
            )


if __name__ == "__main__":
    main()
