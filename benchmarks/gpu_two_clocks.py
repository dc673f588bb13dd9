"""How well sums and two clocks predict published GPUs at small batches from what they take at batch 64.

    python benchmarks/gpu_two_clocks.py --measured help_ofa_mbv3_train.csv

A stand-in for tables of a GPU: for a table's sums stands what the GPU takes at batch 64, learned from every eighth row.
Both laws are fitted to 60 of the other rows and scored on the rest; the mean of five draws.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from compofa.spaces.registry import get_family
from lut import laws, model, two_clocks
from lut.predictors.linear import Ridge
from lut.predictors.subnets import subnet_rows
from lut.scores import mape_pct
from lut.subnets_csv import read_subnets

FAMILY = "imagenet-w1.2"
GPUS, BATCHES = ("v100", "titan_rtx", "2080ti"), (1, 32, 64)
CALIBRATED_ON, SEEDS = 60, 5


def main() -> None:
    """Print a row for each GPU and batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measured", type=Path, required=True)
    file = read_subnets(parser.parse_args().measured, get_family(FAMILY))
    rows = subnet_rows(file.family, file.genotypes)
    launches, work = rows.linear["launches"], rows.linear["work"]
    others = np.setdiff1d(np.arange(len(rows)), np.arange(0, len(rows), 8))
    print("column          sums, MAPE %  two clocks, MAPE %  two clocks chosen")
    for gpu in GPUS:
        sums = Ridge().fit(rows[::8], file.latencies(f"{gpu}_64")[::8]).predict(rows)
        blocks = launches[:, 1:].sum(axis=1)
        columns = [sums, launches[:, 0], blocks, launches[:, 2], work[:, 2], work[:, 3]]
        values = np.column_stack(columns)  # as lut.model.features orders them
        for batch in BATCHES:
            measured = file.latencies(f"{gpu}_{batch}")
            found = []
            for seed in range(SEEDS):
                order = np.random.default_rng(seed).permutation(others)
                some, unseen = order[:CALIBRATED_ON], order[CALIBRATED_ON:]
                known = (values[some], measured[some])
                of_sums = values[unseen] @ model.fit(*known, model.choose_terms(*known))
                of_law = two_clocks.fit(*known).predict(*two_clocks.columns(values[unseen]))
                errors = [mape_pct(measured[unseen], predicted) for predicted in (of_sums, of_law)]
                found.append((*errors, laws.choose(*known) == two_clocks.TERMS))
            of_sums, of_law, chosen = np.mean(found, axis=0)
            print(f"{gpu}_{batch:<12d}{of_sums:10.2f}{of_law:20.2f}{chosen * SEEDS:14.0f} of {SEEDS}")


if __name__ == "__main__":
    main()
