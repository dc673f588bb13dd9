"""False alarms and power of the gate's accuracy check, on the golden sets, beside their noise.

On frozen data an unchanged model predicts the same numbers, so the gate cannot be red by chance. The study asks
for more: would the verdict hold if the data had come out differently? Each replicate draws the test subnets of
every set anew, with replacement. In the regime *as used* baseline and candidate share their measurements, as
they do in a build. In the regime *measured anew* a coin is tossed for each subnet, of either half: the baseline
is fitted on and judged by one of its two measurements, the candidate by the other. An A/A replicate changes
nothing else; in the others the candidate's predictions are wrong by an injected shift. The drift check, which
sees any of these shifts at once, is left out.
"""

from __future__ import annotations

import argparse
import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from compofa.blocks import Block
from hwbench.gating import golden as golden_sets
from hwbench.gating.checks import Comparison, accuracy
from hwbench.gating.findings import FAIL
from hwbench.gating.golden import GoldenSet
from hwbench.gating.noise import swapped
from hwbench.gating.statistics import Judged
from lut import model
from lut.model import Floats

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
RESAMPLES = 999
SIZES = (0.02, 0.03, 0.05, 0.10)
CALL = model.TERMS.index("call")


@dataclass(frozen=True)
class Arrays:
    """A golden set as arrays, so that fitting and predicting again and again is fast."""

    golden: GoldenSet

    @cached_property
    def training(self) -> Floats:
        """Terms of each training subnet, shape (subnets, terms)."""
        return model.features(self.golden.table, self.golden.training.networks)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The distinct blocks of the test subnets."""
        return tuple(dict.fromkeys(b for network in self.golden.test.networks for b in network))

    @cached_property
    def counts(self) -> Floats:
        """How often each test subnet has each block, shape (subnets, blocks)."""
        index = {block: i for i, block in enumerate(self.blocks)}
        networks = self.golden.test.networks
        return np.array([np.bincount([index[b] for b in n], minlength=len(index)) for n in networks], float)

    @cached_property
    def block_terms(self) -> Floats:
        """Terms of each block, shape (blocks, terms)."""
        terms = model.features(self.golden.table, [(block,) for block in self.blocks])
        terms[:, CALL] = 0
        return terms

    def fit(self, measured_ms: Floats) -> Floats:
        """Weights of the calibrated table, as :class:`lut.calibration.Calibration` fits them."""
        return model.fit(self.training, measured_ms, model.choose_terms(self.training, measured_ms))

    def predict(self, weights: Floats, factors: Floats | float = 1.0) -> Floats:
        """Latencies of the test subnets, shape (subnets,), when each block is wrong by its factor, or the whole
        by one."""
        if isinstance(factors, float):
            return factors * self.predict(weights, np.ones(len(self.blocks)))
        return weights[CALL] + self.counts @ (self.block_terms @ weights * factors)

    @cached_property
    def best_fit(self) -> Floats:
        """Weights fitted on the means of the two measurements."""
        return self.fit(self.golden.training.measured_ms)


@dataclass(frozen=True)
class Replicate:
    """A set as one replicate sees it: weights and measurements, the baseline's and the candidate's."""

    arrays: Arrays
    weights: tuple[Floats, Floats]
    measured_ms: tuple[Floats, Floats]
    picks: np.ndarray


def as_used(arrays: Arrays, rng: np.random.Generator) -> Replicate:
    """Baseline and candidate share their measurements."""
    measured = arrays.golden.test.measured_ms
    picks = rng.integers(len(measured), size=len(measured))
    return Replicate(arrays, (arrays.best_fit,) * 2, (measured,) * 2, picks)


def measured_anew(arrays: Arrays, rng: np.random.Generator) -> Replicate:
    """Baseline and candidate have one measurement each of every subnet."""
    one, two = swapped(arrays.golden.training, rng)
    measured = swapped(arrays.golden.test, rng)
    picks = rng.integers(len(measured[0]), size=len(measured[0]))
    return Replicate(arrays, (arrays.fit(one), arrays.fit(two)), measured, picks)


def fails(replicates: Sequence[Replicate], factors: Sequence[Floats | float]) -> bool:
    """Whether the accuracy check over all sets fails when the candidate is wrong by `factors`."""
    compared = []
    for r, wrong in zip(replicates, factors, strict=True):
        before = Judged(r.measured_ms[0], r.arrays.predict(r.weights[0]))[r.picks]
        after = Judged(r.measured_ms[1], r.arrays.predict(r.weights[1], wrong))[r.picks]
        entry = r.arrays.golden.entry
        compared.append(Comparison(entry.name, entry.limits, entry.margins, "calibrated", before, after))
    return any(finding.verdict == FAIL for finding in accuracy(compared, RESAMPLES))


# --- what is injected: from a set, a size and a generator, each block's factor ---

Shift = Callable[[Arrays, float, np.random.Generator], Floats | float]


def everywhere(arrays: Arrays, size: float, rng: np.random.Generator) -> float:
    """Every prediction of every set."""
    return 1 + size


def only(name: str) -> Shift:
    """Every prediction of one set."""
    return lambda arrays, size, rng: 1 + size * (arrays.golden.name == name)


def largest_resolution(arrays: Arrays, size: float, rng: np.random.Generator) -> Floats:
    """The blocks that only the largest resolution of each set has."""
    *others, largest = arrays.golden.table.header.resolutions
    space = arrays.golden.space
    mine = set(space.all_blocks((largest,))) - set(space.all_blocks(others))
    return 1 + size * np.array([block in mine for block in arrays.blocks])


def with_se(arrays: Arrays, size: float, rng: np.random.Generator) -> Floats:
    """Blocks with squeeze-and-excitation."""
    return 1 + size * np.array([block.se for block in arrays.blocks])


def at_random(arrays: Arrays, size: float, rng: np.random.Generator) -> Floats:
    """Each block by a factor of its own, normally distributed."""
    return np.maximum(0.1, 1 + size * rng.standard_normal(len(arrays.blocks)))


# --- the study ---


def study(
    sets: Sequence[Arrays],
    regime: Callable[[Arrays, np.random.Generator], Replicate],
    replicates: int,
    rng: np.random.Generator,
) -> None:
    """Print false alarms and power."""
    kinds: dict[str, Shift] = {"all, every target": everywhere}
    kinds |= {f"all, {arrays.golden.name} only": only(arrays.golden.name) for arrays in sets}
    kinds |= {
        "largest resolution": largest_resolution,
        "blocks with SE": with_se,
        "each at random": at_random,
    }
    cases = [(kind, size) for kind in kinds for size in SIZES]
    caught, moved, false_alarms = dict.fromkeys(cases, 0), dict.fromkeys(cases, 0.0), 0
    for _ in range(replicates):
        drawn = [regime(arrays, rng) for arrays in sets]
        false_alarms += fails(drawn, [1.0] * len(drawn))
        for kind, size in cases:
            factors = [kinds[kind](arrays, size, rng) for arrays in sets]
            caught[kind, size] += fails(drawn, factors)
            moved[kind, size] += typical_shift(drawn, factors) / replicates
    print(
        f"\n{regime.__name__.replace('_', ' ')}: {false_alarms} false alarms in {replicates} A/A replicates"
    )
    print(f"{'caught, % of replicates':32}" + "".join(f"{100 * size:12.0f} %" for size in SIZES))
    for kind in kinds:
        cells = (f"{100 * caught[kind, s] / replicates:.1f} ({100 * moved[kind, s]:.1f})" for s in SIZES)
        print(f"{kind:32}" + "".join(f"{cell:>14}" for cell in cells))


def typical_shift(drawn: Sequence[Replicate], factors: Sequence[Floats | float]) -> float:
    """Median relative change of the candidate's predictions over the subnets that it changes."""
    ratios = np.concatenate(
        [
            r.arrays.predict(r.weights[1], f) / r.arrays.predict(r.weights[1])
            for r, f in zip(drawn, factors, strict=True)
        ]
    )
    changed = np.abs(ratios - 1)[np.abs(ratios - 1) > 1e-9]
    return float(np.median(changed)) if len(changed) else 0.0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, default=GOLDEN)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.perf_counter()
    entries = golden_sets.read_manifest(args.golden).values()
    sets = [Arrays(golden_sets.load(args.golden, entry)) for entry in entries]
    for golden in (arrays.golden for arrays in sets):
        entry = golden.entry
        print(
            f"{entry.name:14} {len(golden.test.archs)} test subnets, repeatable to "
            f"{golden_sets.repeatability_pct(golden.test):.1f} %; MAPE and bias: floor {entry.limits.mape_pct:.2f} "
            f"and {entry.limits.bias_pct:.2f} %, margin {entry.margins.mape_pct:.2f} and "
            f"{entry.margins.bias_pct:.2f}"
        )
    rng = np.random.default_rng(args.seed)
    for regime in (as_used, measured_anew):
        study(sets, regime, args.replicates, rng)
    print("in brackets: how far the shift moves a subnet, median over the subnets that it moves, %")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
