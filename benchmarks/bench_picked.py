"""How much worse are subnets than predicted when they were picked by the prediction?

    python benchmarks/bench_picked.py --out PICKED.accuracy.jsonl [--picks 100] [--cost macs] [--shrink 0.4]

In OFA's supernet of glyphs: the whole frontier of OFA's space is searched by the shipped predictor, on the shipped
reference table or by another cost; subnets spread over it, of those that the predictor was not fitted to, are measured
in the shipped supernet on its own test split (about a second each, quiet), each kept in the file at once, so that the
same command goes on where it was stopped. In CompOFA's supernet: a predictor is fitted to 200 random ones of its 1,215
subnets, the best of the others within each of 100 latencies are picked; all of them are measured already, so this
repeats with five draws.

Optimism is the mean of predicted less measured, in points. --shrink: standard deviations that the objective of the
search takes off (`AccuracySource.after_pick` takes off SHRINK).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from compofa.accuracy import Accuracies
from compofa.accuracy.fitting import fit_predictor
from compofa.accuracy.picked import SHRINK, WIDEN, after_pick
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, decode
from compofa.spaces.space import get_space
from hwbench import shipped, showing
from hwbench.evaluating import evaluate
from hwbench.searching.engine import search
from hwbench.searching.problem import Problem
from hwbench.telling import note, progress
from lut.calibration import load_model
from lut.costs import CostModel, macs, params

LIMITS = 100
SHRINKS = (0.0, 0.2, SHRINK, 0.6, 0.8)
COSTS: dict[str, Callable[[Family], CostModel]] = {
    "latency": lambda family: load_model(shipped.reference_table("glyphs")),
    "macs": macs,
    "params": params,
}


def report(name: str, predictor: AccuracyPredictor, genotypes: Genotypes, accuracy: np.ndarray) -> None:
    """Print how picked subnets of a measured accuracy were predicted, with more and more taken off."""
    predicted, deviation = predictor.predict(genotypes), predictor.deviation(genotypes)
    assert predictor.intervals is not None
    wide = predictor.intervals.factor(0.9) * deviation
    found = {"picked": name, "subnets": len(accuracy), "mae": _points(np.abs(predicted - accuracy).mean())}
    for shrink in SHRINKS:
        error = predicted - shrink * deviation - accuracy
        held = (100 * float(np.mean(np.abs(error) <= times * wide)) for times in (1, WIDEN))
        found[f"less {shrink} s"] = [_points(error.mean()), *(round(share, 1) for share in held)]
    for i, side in enumerate(predictor.family.resolutions):
        mine = genotypes[:, 0] == i
        if mine.any():
            found[f"{side} px"] = [int(mine.sum()), _points((predicted - accuracy)[mine].mean())]
    print(json.dumps(found), flush=True)


def _points(fraction: float) -> float:
    return round(100 * float(fraction), 3)


def picks_of(predictor: AccuracyPredictor, cost: CostModel, shrink: float, count: int) -> Genotypes:
    """Subnets spread over a searched frontier, of those that the predictor was not fitted to."""
    family = predictor.family
    every = tuple(range(len(family.resolutions)))
    problem = Problem(
        get_space("ofa", family), (cost,), lambda g: after_pick(predictor, g, shrink, covered=True), every
    )
    frontier = search(problem, np.empty((0, 1)), 0).frontier
    files = ("glyphs-ofa.accuracy.jsonl", "glyphs-ofa.picked.accuracy.jsonl")
    fitted = {arch for name in files for arch in Accuracies.load(shipped.artefact(name)).correct}
    new = np.array([arch not in fitted for arch in decode(family, frontier.genotypes)])
    note(f"{len(new)} subnets on the frontier, {len(new) - new.sum()} of them were fitted")
    genotypes = frontier.genotypes[new]
    return genotypes[np.unique(np.linspace(0, len(genotypes) - 1, count).round().astype(int))]


def in_ofas_supernet(picks: int, shrink: float, cost: str, out: Path) -> None:
    """Subnets of a searched frontier, measured now."""
    predictor = AccuracyPredictor.load(shipped.predictor("glyphs"))
    genotypes = picks_of(predictor, COSTS[cost](predictor.family), shrink, picks)
    archs = decode(predictor.family, genotypes)
    with showing():
        found = evaluate(
            shipped.supernet("glyphs", "ofa"), archs, space="ofa", out=out, workers=1, progress=progress
        )
    report(f"in OFA's supernet, by {cost}, {shrink} s off", predictor, genotypes, np.array(found.values))


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
    parser.add_argument("--cost", choices=tuple(COSTS), default="latency")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.cost == "latency":
        in_compofas_supernet()
    in_ofas_supernet(args.picks, args.shrink, args.cost, args.out)


if __name__ == "__main__":
    main()
