"""Fit the accuracy predictor of glyphs that is shipped, and print its held-out error.

    python benchmarks/fit_accuracy_predictor.py [ACCURACIES.jsonl PREDICTOR.safetensors [MORE.jsonl ...]]

Without arguments: the shipped accuracies and the shipped ones of picked subnets, and nothing is written. Errors and
intervals are told by the random subnets only, each by a model that had not seen it: those that a search picked, and
CompOFA's, are like one another, and easier.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from compofa.accuracy import Accuracies, AccuracyOrigin
from compofa.accuracy.fitting import fit_predictor, fit_quickly
from compofa.spaces.layout import encode
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.evaluating import choose

RANDOM_SUBNETS = 1600
"""As many as `hwbench evaluate --space ofa --sample 1600` measured."""


def main() -> None:
    """Fit to all that was measured in the supernet."""
    given = [Path(argument) for argument in sys.argv[1:]]
    files = [given[0], *given[2:]] if given else [shipped.accuracies("glyphs", "ofa")]
    files += [] if len(given) > 2 else [shipped.artefact("glyphs-ofa.picked.accuracy.jsonl")]
    first, *others = map(Accuracies.load, files)
    correct = dict(first.correct)
    for other in others:
        if differ := first.header.differences(other.header):
            raise SystemExit(f"accuracies of something else: {'; '.join(differ)}")
        correct = {**other.correct, **correct}
    archs = list(correct)
    genotypes = encode(first.family, archs)
    accuracy = np.array([correct[arch] for arch in archs]) / first.header.images
    sample = set(choose(get_space("ofa", first.family), RANDOM_SUBNETS, seed=0))
    random = np.array([arch in sample for arch in archs])
    predictor = fit_predictor(
        first.family, genotypes, accuracy, origin=AccuracyOrigin.of(first.header), judged_by=random
    )
    print(f"{len(archs)} subnets, {random.sum()} of them random")
    print(json.dumps(predictor.report, indent=2))
    if len(given) > 1:
        predictor.save(given[1])
    compofa = np.array([get_space("compofa", first.family).contains(arch) for arch in archs])
    for name, others in (("CompOFA's", compofa & ~random), ("picked", ~compofa & ~random)):
        alone = fit_quickly(first.family, genotypes[random], accuracy[random])
        error = 100 * (alone.predict(genotypes[others]) - accuracy[others])
        print(
            f"fitted to the random ones alone, on {others.sum()} {name}: MAE {np.abs(error).mean():.3f} points, "
            f"optimism {error.mean():+.3f}"
        )


if __name__ == "__main__":
    main()
