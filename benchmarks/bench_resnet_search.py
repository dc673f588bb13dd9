"""Search on ResNet50D, whose stages choose their width, by MACs and an accuracy predictor of OFA's published format.

The published weights are not shipped: the predictor has its inputs, layers and sizes, and random weights, so it is less
additive than a real one and the search has the harder task.

    python benchmarks/bench_resnet_search.py
"""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np

from compofa.accuracy.predictor import AccuracyPredictor
from compofa.accuracy.published import RESNET_RESOLUTIONS, from_published
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from hwbench.searching.engine import search
from hwbench.searching.problem import Problem
from lut.costs import macs

FAMILY = get_family("resnet50d")
INPUTS, HIDDEN = 82, 400
RUNS = 5


def random_predictor(seed: int) -> AccuracyPredictor:
    """Of the published format; accuracies about 0.77."""
    rng, state = np.random.default_rng(seed), {}
    for number, (before, after) in enumerate(pairwise((INPUTS, HIDDEN, HIDDEN, HIDDEN, 1))):
        weight = rng.standard_normal((after, before)) * (2 / before) ** 0.5
        state[f"{2 * number}.weight"] = weight.astype(np.float32)
        state[f"{2 * number}.bias"] = np.zeros(after, np.float32)
    state["6.weight"] *= 0.01
    state["6.bias"] += 0.77
    return from_published(FAMILY, state)


def main() -> None:
    """Print the figures."""
    space, predictor = get_space("ofa", FAMILY), random_predictor(0)
    index = tuple(i for i, side in enumerate(FAMILY.resolutions) if side in RESNET_RESOLUTIONS)
    print(f"{float(space.size() * len(index)):.2g} subnets of resnet50d at {len(index)} resolutions")
    for what, limits in (("one constraint", np.array([[2000.0]])), ("the frontier", np.empty((0, 1)))):
        seconds = []
        for _ in range(RUNS):
            problem = Problem(space, (macs(FAMILY),), predictor.predict, index)
            start = time.process_time()
            found = search(problem, limits)
            seconds.append(time.process_time() - start)
        print(f"{what:15} {min(seconds):.2f} s of processor time, {found.evaluations:,} subnets evaluated")


if __name__ == "__main__":
    main()
