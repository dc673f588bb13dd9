"""Fit the accuracy predictor that is shipped, and print its held-out error.

    python benchmarks/fit_accuracy_predictor.py ACCURACIES.jsonl PREDICTOR.safetensors

Without arguments: the shipped accuracies, and nothing is written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from compofa.accuracy import Accuracies
from compofa.accuracy_predictor import AccuracyPredictor
from compofa.spaces import get_space
from hwbench import shipped


def main() -> None:
    """Fit on all measured subnets that are outside CompOFA's space: the random ones."""
    given = [Path(argument) for argument in sys.argv[1:]]
    accuracies = Accuracies.load(given[0] if given else shipped.accuracies("glyphs", "ofa"))
    family = accuracies.family
    genotypes, accuracy = accuracies.arrays()
    compofa = get_space("compofa", family)
    random = np.array([not compofa.contains(arch) for arch in accuracies.correct])
    predictor = AccuracyPredictor.fit(family, genotypes[random], accuracy[random])
    print(json.dumps(predictor.report, indent=2))
    inside = np.abs(predictor.predict(genotypes[~random]) - accuracy[~random])
    if inside.size:
        print(f"CompOFA's subnets in the same supernet, none of them fitted: MAE {inside.mean():.4f}")
    if len(given) > 1:
        predictor.save(given[1])


if __name__ == "__main__":
    main()
