"""How much worse are subnets than predicted when they were picked by the prediction?

    python benchmarks/bench_picked.py [--picks 100] [--shrink 0.4] [--out PICKED.jsonl]

On glyphs: a predictor is fitted to the 1,600 random subnets of OFA's supernet that were measured; the whole frontier of
OFA's space is searched by it, on the shipped reference table; subnets spread over that frontier are measured in the
supernet (about a second each, quiet). The same in CompOFA's supernet: fitted to 200 random ones of its 1,215 subnets,
the best of the others within each of 100 latencies; all of them are measured already, so this repeats with five draws.

Optimism is the mean of predicted less measured, in points. --shrink: standard deviations that the objective of the
search takes off (`AccuracySource.after_pick` takes off SHRINK).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from compofa.accuracy import Accuracies, AccuracyFile
from compofa.accuracy.fitting import fit_predictor
from compofa.accuracy.picked import SHRINK, after_pick, interval_after_pick
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.evaluate import make_evaluator
from compofa.spaces.layout import Genotypes, decode
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.evaluating import choose
from hwbench.searching.engine import search
from hwbench.searching.problem import Problem
from lut.calibration import load_model

RANDOM_SUBNETS = 1600
"""As many as `hwbench evaluate --space ofa --sample 1600` measured."""
LIMITS = 100


def report(name: str, predictor: AccuracyPredictor, genotypes: Genotypes, accuracy: np.ndarray) -> None:
    """Print how picked subnets of a measured accuracy were predicted, as it stands and corrected."""
    plain, low, high = predictor.predict(genotypes), *predictor.interval(genotypes, 0.9)
    corrected, wide_low, wide_high = (
        after_pick(predictor, genotypes),
        *interval_after_pick(predictor, genotypes, 0.9),
    )
    found = {
        "picked": name,
        "subnets": len(accuracy),
        "optimism_points": 100 * float((plain - accuracy).mean()),
        "mae_points": 100 * float(np.abs(plain - accuracy).mean()),
        "held_by_90_pct": 100 * float(np.mean((low <= accuracy) & (accuracy <= high))),
        "corrected_optimism_points": 100 * float((corrected - accuracy).mean()),
        "corrected_held_by_90_pct": 100 * float(np.mean((wide_low <= accuracy) & (accuracy <= wide_high))),
    }
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}), flush=True)


def in_ofas_supernet(picks: int, shrink: float, out: Path | None) -> None:
    """Subnets of a searched frontier, measured now."""
    table = Accuracies.load(shipped.accuracies("glyphs", "ofa"))
    family, space = table.family, get_space("ofa", table.family)
    genotypes, accuracy = table.arrays()
    sample = set(choose(space, RANDOM_SUBNETS, seed=0))
    random = np.array([arch in sample for arch in table.correct])
    predictor = fit_predictor(family, genotypes[random], accuracy[random])
    others = ~random & ~np.array([get_space("compofa", family).contains(arch) for arch in table.correct])
    report("by an earlier predictor, in OFA's supernet", predictor, genotypes[others], accuracy[others])
    latency = load_model(shipped.reference_table("glyphs"))
    every = tuple(range(len(family.resolutions)))
    problem = Problem(space, (latency,), lambda g: after_pick(predictor, g, shrink, covered=True), every)
    frontier = search(problem, np.empty((0, 1)), 0).frontier
    spread = np.unique(np.linspace(0, len(frontier) - 1, picks).round().astype(int))
    chosen = frontier.genotypes[spread]
    evaluator = make_evaluator(shipped.supernet("glyphs", "ofa"), "glyphs")
    known, archs = dict(table.correct), decode(family, chosen)
    correct = [known[arch] if arch in known else evaluator.correct(arch) for arch in archs]
    if out:
        with AccuracyFile(out, table.header) as file:
            for arch, right in zip(archs, correct, strict=True):
                file.add(arch, right)
    report("by this predictor, in OFA's supernet", predictor, chosen, np.array(correct) / table.header.images)


def in_compofas_supernet(count: int = 200, draws: int = 5) -> None:
    """The best of the subnets that were not fitted, within each of many latencies."""
    table = Accuracies.load(shipped.accuracies("glyphs", "compofa"))
    genotypes, accuracy = table.arrays()
    latency_ms = load_model(shipped.reference_table("glyphs")).predict(genotypes)
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(accuracy))
        predictor = fit_predictor(table.family, genotypes[order[:count]], accuracy[order[:count]])
        rest = order[count:]
        predicted, ms = after_pick(predictor, genotypes[rest]), latency_ms[rest]
        limits = np.quantile(ms, np.linspace(0.02, 1, LIMITS))
        best = np.unique([np.argmax(np.where(ms <= limit, predicted, -1)) for limit in limits])
        report(f"in CompOFA's supernet, draw {seed}", predictor, genotypes[rest[best]], accuracy[rest[best]])


def main() -> None:
    """Both supernets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--picks", type=int, default=100)
    parser.add_argument("--shrink", type=float, default=SHRINK)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    in_compofas_supernet()
    in_ofas_supernet(args.picks, args.shrink, args.out)


if __name__ == "__main__":
    main()
