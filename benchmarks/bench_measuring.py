"""How good is the frontier of glyphs' OFA space after so many evaluations, begun from nothing?

    python benchmarks/bench_measuring.py --out MEASURED.accuracy.jsonl [--measure 200] [--seed 0] [--known FILE ...]

As `hwbench search --space ofa --measure 200` with a supernet of which nothing is known: on the shipped reference table,
in OFA's shipped supernet. Accuracies that ship, and those of --known, as of another seed, are looked up when they are
asked for; all others are measured (about a second each), each kept in the file at once, so that the same command goes
on where it was stopped. Hypervolumes are held against that of the 3,597 subnets that ship, from the same point as
`hwbench pareto` counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from compofa.accuracy import Accuracies
from compofa.accuracy.origin import AccuracyOrigin
from compofa.spaces.arch import Arch
from compofa.spaces.layout import Genotypes, encode
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.evaluating import evaluate
from hwbench.frontiers.cloud import Cloud
from hwbench.measured_accuracies import MeasuredAccuracies
from hwbench.searching.measuring import measure_best
from hwbench.searching.problem import Problem
from lut.calibration import load_model


class Bench:
    """Measures as a search asks, and prints how good its frontier has become."""

    def __init__(self, out: Path, known: Sequence[Path] = ()) -> None:
        self.out, self.shipped = out, Accuracies.load(shipped.accuracies("glyphs", "ofa"))
        self.there = {arch: n for file in known for arch, n in Accuracies.load(file).correct.items()}
        self.there |= self.shipped.correct
        self.family, self.latency = self.shipped.family, load_model(shipped.reference_table("glyphs"))
        self.correct: dict[Arch, int] = {}
        whole = self.cloud(*self.shipped.arrays())
        self.reference = float(whole.cost.max()), float(whole.accuracy.min())
        self.target = whole.hypervolume(self.reference)
        print(f"{len(whole):,} shipped subnets: hypervolume {self.target:.5f}")

    def cloud(self, genotypes: Genotypes, accuracy: np.ndarray) -> Cloud:
        """Subnets with their latencies."""
        return Cloud(self.family, genotypes, self.latency.predict(genotypes), accuracy)

    @property
    def known(self) -> MeasuredAccuracies:
        """All that was asked for."""
        accuracy = np.array(list(self.correct.values()), dtype=float) / self.shipped.header.images
        return MeasuredAccuracies(
            self.out, self.family, encode(self.family, list(self.correct)), accuracy, AccuracyOrigin()
        )

    def __call__(self, archs: Sequence[Arch]) -> MeasuredAccuracies:
        new = [arch for arch in archs if arch not in self.there]
        found = evaluate(shipped.supernet("glyphs", "ofa"), new, space="ofa", out=self.out, workers=1)
        self.correct |= {arch: {**found.accuracies.correct, **self.there}[arch] for arch in archs}
        known = self.known
        now = self.cloud(known.genotypes, known.accuracy).hypervolume(self.reference)
        print(
            f"{len(self.correct):5} evaluations ({len(new)} of the last {len(archs)} are not known): hypervolume "
            f"{now:.5f}, {100 * now / self.target:.1f} %",
            flush=True,
        )
        return known


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--measure", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--known", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    bench = Bench(args.out, args.known)
    space = get_space("ofa", bench.family)
    every = tuple(range(len(bench.family.resolutions)))
    problem = Problem(space, (bench.latency,), lambda genotypes: np.zeros(len(genotypes)), every)
    found = measure_best(problem, np.empty((0, 1)), bench.known, bench, args.measure, args.seed)
    print(
        f"{found.rounds} rounds; one more is expected to raise the frontier by {100 * found.expected:.3f} points"
    )


if __name__ == "__main__":
    main()
