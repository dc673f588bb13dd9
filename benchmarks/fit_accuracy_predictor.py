"""Fit the accuracy predictor that is shipped, and print its held-out error.

    python benchmarks/fit_accuracy_predictor.py ACCURACIES.jsonl PREDICTOR.safetensors

Without arguments: the shipped accuracies, and nothing is written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from compofa.accuracy import Accuracies, AccuracyOrigin
from compofa.accuracy.fitting import fit_predictor
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.evaluating import choose

RANDOM_SUBNETS = 1600
"""As many as `hwbench evaluate --space ofa --sample 1600` measured."""


def main() -> None:
    """Fit on the random subnets; the others that were measured, CompOFA's and a search's best, only test."""
    given = [Path(argument) for argument in sys.argv[1:]]
    accuracies = Accuracies.load(given[0] if given else shipped.accuracies("glyphs", "ofa"))
    family = accuracies.family
    genotypes, accuracy = accuracies.arrays()
    sample = set(choose(get_space("ofa", family), RANDOM_SUBNETS, seed=0))
    random = np.array([arch in sample for arch in accuracies.correct])
    origin = AccuracyOrigin.of(accuracies.header)
    predictor = fit_predictor(family, genotypes[random], accuracy[random], origin=origin)
    print(json.dumps(predictor.report, indent=2))
    compofa = np.array([get_space("compofa", family).contains(arch) for arch in accuracies.correct])
    error = predictor.predict(genotypes) - accuracy
    for name, chosen in (("CompOFA's subnets", compofa), ("a search's best", ~random & ~compofa)):
        if chosen.any():
            print(
                f"{name} in the same supernet, none of them fitted: {chosen.sum()}, "
                f"MAE {np.abs(error[chosen]).mean():.4f}, bias {error[chosen].mean():+.4f}"
            )
    if len(given) > 1:
        predictor.save(given[1])


if __name__ == "__main__":
    main()
