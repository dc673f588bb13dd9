"""Fit the ImageNet accuracy predictor that is shipped, to validated accuracies of OFA's subnets.

    python benchmarks/fit_imagenet_accuracy.py ROWS.csv [PREDICTOR.safetensors] [--held-back OTHERS.csv]

ROWS.csv: subnets in columns r, d0.., ks00.., e00.. with their ImageNet top-1 in a column top1_pct, as IntelLabs/DyNAS-T
publishes them (notebooks/data, Apache-2.0) and as they were cleaned up for this project. They were picked by searches,
not drawn at random, and many differ from another one in a single choice: those are held out together.

--held-back FILE: rows of the same kind that only test. Without it, a third of ROWS is held back first, three times,
and the same with 300 and with 100 rows to fit to.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from compofa.accuracy.fitting import fit_predictor, scores
from compofa.accuracy.origin import AccuracyOrigin
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.spaces.layout import Genotypes
from compofa.spaces.registry import get_family
from lut.subnets_csv import read_subnets

FAMILY = "imagenet-w1.0"
COLUMN = "top1_pct"
ORIGIN = AccuracyOrigin(
    supernet="OFA's own (mbv3 w1.0)",
    data="ImageNet's validation images at 224 px",
    classes=1000,
    source="IntelLabs/DyNAS-T 251cb5e, notebooks/data (Apache-2.0); subnets picked by searches",
)


def read(path: Path) -> tuple[Genotypes, np.ndarray]:
    """Genotypes (n, columns) and top-1 as fractions (n,)."""
    table = read_subnets(path, get_family(FAMILY))
    at = table.header.index(COLUMN)
    return table.genotypes, np.array([float(row[at]) for row in table.cells]) / 100


def test(predictor: AccuracyPredictor, genotypes: Genotypes, accuracy: np.ndarray) -> dict[str, float]:
    """Scores in points, and the share that 90 % intervals hold, of the subnets of whose choices it saw each."""
    assert predictor.coverage
    known = np.array([not predictor.coverage.lacks(one[None]) for one in genotypes])
    genotypes, accuracy = genotypes[known], accuracy[known]
    found = scores(accuracy, predictor.predict(genotypes))
    low, high = predictor.interval(genotypes, 0.9)
    return {
        "subnets": found["subnets"],
        "mae_points": 100 * found["mae"],
        "spearman": found["spearman"],
        "held_by_90_pct": 100 * float(np.mean((low <= accuracy) & (accuracy <= high))),
    }


def main() -> None:
    """Fit, test, and save if a name is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=Path)
    parser.add_argument("predictor", type=Path, nargs="?")
    parser.add_argument("--held-back", type=Path)
    args = parser.parse_args()
    family = get_family(FAMILY)
    genotypes, accuracy = read(args.rows)
    predictor = fit_predictor(family, genotypes, accuracy, origin=ORIGIN)
    print(json.dumps(predictor.report, indent=2))
    if args.predictor:
        predictor.save(args.predictor)
    if args.held_back:
        others, truth = read(args.held_back)
        print(json.dumps({"fitted_to": len(accuracy), **test(predictor, others, truth)}))
    for count in (2 * len(accuracy) // 3, 300, 100):
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(len(accuracy))
            if args.held_back:
                kept, (others, truth) = order[:count], read(args.held_back)
            else:
                kept, left = order[:count], order[2 * len(accuracy) // 3 :]
                others, truth = genotypes[left], accuracy[left]
            part = fit_predictor(family, genotypes[kept], accuracy[kept])
            print(json.dumps({"fitted_to": count, "seed": seed, **test(part, others, truth)}))


if __name__ == "__main__":
    main()
