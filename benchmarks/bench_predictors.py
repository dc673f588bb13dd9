"""How well `hwbench fit` learns the latency of subnets nobody measured, with the figures to beat beside it.

    python benchmarks/bench_predictors.py --measured help_ofa_mbv3_train.csv

The file holds measured OFA-MobileNetV3 subnets of the HELP project (HayeonLee/HELP, MIT). Its even rows are what
the estimators were developed on; models are fitted on random samples of these, and scored on all odd rows, which
took no part in the development. The baselines are the best of five kinds of models (ridge one-hot, random forest,
XGBoost, MLP, GP), picked on their test rows, 1,500 of the project's 5,000: for each figure the best of them.
With ``--out`` each fit is a line of a file at once, and the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from compofa.spaces.registry import get_family
from hwbench.fitting.latency import COVERAGE, assess, read_measured
from lut.predictors import ESTIMATORS
from lut.predictors.auto import AutoPredictor
from lut.subnet_model import SubnetModel

FAMILY = "imagenet-w1.2"
BASELINES = {
    "v100_64": {100: (2.8, 98.5, 0.995), 300: (0.87, 99.6, 0.999), 900: (0.70, 99.6, 1.0)},
    "v100_32": {100: (4.5, 90.1, 0.947), 300: (3.8, 93.7, 0.958), 900: (3.3, 95.4, 0.962)},
    "v100_1": {100: (5.1, 87.2, 0.865), 300: (4.9, 88.7, 0.869), 900: (4.6, 91.0, 0.881)},
    "2080ti_1": {100: (9.5, 61.6, 0.663), 300: (8.6, 66.3, 0.697), 900: (8.2, 69.3, 0.731)},
    "titan_rtx_64": {100: (2.3, 99.5, 0.997), 300: (0.70, 100.0, 1.0), 900: (0.57, 100.0, 1.0)},
}
"""MAPE in percent, within 10 % in percent, Spearman; by column and samples."""
KEYS = ("mape_pct", "within_10_pct", "spearman", "coverage_pct", "mean_width_pct", "fit_s")


def main(argv: Sequence[str] | None = None) -> None:
    """Print a row for each column and number of samples, the mean over seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measured", type=Path, required=True)
    parser.add_argument("--columns", nargs="+", default=list(BASELINES))
    parser.add_argument("--samples", nargs="+", type=int, default=[100, 300, 900])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--out", type=Path, help="lines of JSON, one a fit")
    args = parser.parse_args(argv)

    print(f"model {args.model}, mean of {args.seeds} seeds; a nominal interval of {100 * COVERAGE:.0f} %")
    print(
        "column        n    MAPE %  (base)  in 10 % (base)  Spearman (base)  cover % width %  fit s  chosen"
    )
    for column in args.columns:
        for samples in args.samples:
            runs = [kept(args, column, samples, seed) for seed in range(args.seeds)]
            means = dict(
                zip(KEYS, np.mean([[run[key] for key in KEYS] for run in runs], axis=0), strict=True)
            )
            chosen = " ".join(sorted({name for run in runs for name in run["weights"]}))
            base = BASELINES.get(column, {}).get(samples, (np.nan,) * 3)
            print(
                f"{column:13}{samples:4d}{means['mape_pct']:9.3f} {base[0]:6.2f} {means['within_10_pct']:9.2f} "
                f"{base[1]:6.1f}{means['spearman']:10.4f} {base[2]:6.3f} {means['coverage_pct']:8.1f} "
                f"{means['mean_width_pct']:7.2f} {means['fit_s']:6.1f}  {chosen}",
                flush=True,
            )


def kept(args: argparse.Namespace, column: str, samples: int, seed: int) -> dict:
    """:func:`one`, or what the file has of it."""
    if args.out is None:
        return one(args, column, samples, seed)
    of = {"model": args.model, "column": column, "samples": samples, "seed": seed}
    lines = args.out.read_text("utf-8").splitlines() if args.out.exists() else []
    for line in map(json.loads, lines):
        if {key: line[key] for key in of} == of:
            return dict(line["found"])
    found = one(args, column, samples, seed)
    with args.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**of, "found": found}) + "\n")
    return found


def one(args: argparse.Namespace, column: str, samples: int, seed: int) -> dict:
    """Fit on `samples` of the even rows, score on the odd ones."""
    family = get_family(FAMILY)
    genotypes, measured_ms, _ = read_measured(args.measured, family, column)
    even = np.arange(len(genotypes)) % 2 == 0
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(even))[:samples]
    models = tuple(ESTIMATORS) if args.model == "auto" else (args.model,)
    start = time.perf_counter()
    model = SubnetModel.fit(
        family, column, genotypes[chosen], measured_ms[chosen], AutoPredictor(models, seed)
    )
    fit_s = time.perf_counter() - start
    scores = assess(model, genotypes[~even], measured_ms[~even])
    return {**scores, "fit_s": fit_s, "weights": model.predictor.weights}


if __name__ == "__main__":
    main()
