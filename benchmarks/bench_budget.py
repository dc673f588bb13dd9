"""What a table loses when only some of its blocks are measured: the error of whole networks against the budget.

Entries of full tables are hidden, the rest is predicted, and the calibration is fitted anew on the networks
measured beside each table, leave one out: what validate would say of a table built with --budget. The peer is a
random choice of as many blocks; the floor is the full table, beside the repeatability of the measurements.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compofa.spaces.space import get_space
from hwbench.shipped import reference_table
from lut.calibration import Calibration, calibration_path
from lut.design import RANDOM_SHARE, next_blocks
from lut.gaps import fill
from lut.predictors.block_rows import block_rows
from lut.scores import mape_pct
from lut.table import Table

SHARES = (0.1, 0.2, 1 / 3, 0.5, 0.7)
SEEDS = 3
BATCH, NETWORKS = 32, 200
"""As build_lut does it."""
COVERAGE = 0.9


@dataclass(frozen=True)
class Point:
    """A budget's outcome; `block_mape_pct` and `covered_pct` are of the predicted blocks alone."""

    share: float
    how: str
    seed: int
    mape_pct: float
    block_mape_pct: float
    covered_pct: float


def pick(table: Table, count: int, how: str, seed: int, random_share: float) -> Table:
    """`table` with `count` of its entries, the others hidden."""
    rng = np.random.default_rng(seed)
    resolutions = table.complete_resolutions(space := get_space("ofa", table.family))
    blocks = space.all_blocks(resolutions)
    if how == "random":
        chosen = [blocks[i] for i in rng.choice(len(blocks), count, replace=False)]
        return replace(table, entries={block: table.entries[block] for block in chosen})
    networks = [space.blocks(space.sample(rng, int(rng.choice(resolutions)))) for _ in range(NETWORKS)]
    known: dict = {}
    while len(known) < count:
        latencies = {block: m.latency_ms for block, m in known.items()}
        batch = next_blocks(blocks, networks, latencies, min(BATCH, count - len(known)), rng, random_share)
        known |= {block: table.entries[block] for block in batch}
    return replace(table, entries=known)


def validated(table: Table, full: Calibration) -> float:
    """Leave-one-out error of `table`, calibrated on the networks of `full`, in percent."""
    calibration = Calibration(table, full.archs, full.first_ms, full.second_ms)
    return mape_pct(calibration.measured_ms, calibration.held_out_ms)


def measure_point(full: Calibration, share: float, how: str, seed: int, random_share: float) -> Point:
    """Hide, predict, validate."""
    count = max(20, round(share * len(full.table.entries)))
    partial, filling = fill(pick(full.table, count, how, seed, random_share), full.table.entries, seed)
    gaps = list(filling.entries)
    truth = np.array([full.table.entries[block].latency_ms for block in gaps])
    low, high = filling.predictor.interval(block_rows(gaps), COVERAGE)
    guess = np.array([filling.entries[block].latency_ms for block in gaps])
    covered = 100 * float(np.mean((low <= truth) & (truth <= high)))
    return Point(share, how, seed, validated(partial, full), mape_pct(truth, guess), covered)


def report(name: str, full: Calibration, random_share: float) -> tuple[float, list[Point]]:
    """Print the curve of a table; gives the full table's error and the points."""
    floor = validated(full.table, full)
    repeat = mape_pct(np.array(full.first_ms), np.array(full.second_ms))
    print(
        f"{name}: {len(full.table.entries)} blocks, {len(full.archs)} networks, repeatability {repeat:.2f} %"
    )
    print(f"  all measured       MAPE {floor:.2f} %")
    points = []
    for share in SHARES:
        for how in ("active", "random"):
            mine = [measure_point(full, share, how, seed, random_share) for seed in range(SEEDS)]
            points += mine
            errors = np.array([(p.mape_pct, p.block_mape_pct, p.covered_pct) for p in mine])
            mean, block, covered = errors.mean(axis=0)
            print(
                f"  {share:4.0%} {how:7} MAPE {mean:.2f} % ({errors[:, 0].min():.2f}-{errors[:, 0].max():.2f}), "
                f"{mean / floor:.2f} x full; predicted blocks: MAPE {block:.1f} %, {covered:.0f} % covered at "
                f"{COVERAGE:.0%}",
                flush=True,
            )
    return floor, points


def draw(path: Path, curves: list[tuple[str, float, float, list[Point]]]) -> None:
    """A panel a table: error of networks over the share of blocks measured."""
    from matplotlib.figure import Figure

    from hwbench.plots import BLUE, GREY, ORANGE

    figure = Figure(figsize=(4.4 * len(curves), 3.6), layout="constrained")
    for ax, (name, floor, repeat, points) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True
    ):
        for how, colour in (("active", BLUE), ("random", ORANGE)):
            mine = [p for p in points if p.how == how]
            means = [np.mean([p.mape_pct for p in mine if p.share == share]) for share in SHARES]
            ax.plot([100 * s for s in SHARES], means, color=colour, label=f"{how} choice")
            ax.scatter(
                [100 * p.share for p in mine], [p.mape_pct for p in mine], s=12, color=colour, alpha=0.6
            )
        ax.axhline(floor, color="black", linewidth=1, label="all blocks measured")
        ax.axhline(repeat, color=GREY, linewidth=1, linestyle=":", label="repeatability")
        ax.set(xlabel="blocks measured (%)", ylabel="MAPE of whole networks (%)", title=name, ylim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Print the figures, and draw them if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", type=Path, help="validated tables (default: the shipped one)")
    parser.add_argument(
        "--random-share", type=float, default=RANDOM_SHARE, help="of the active choice (default: build_lut's)"
    )
    parser.add_argument("--out", type=Path, help="picture")
    args = parser.parse_args()
    curves = []
    for path in args.tables or [reference_table("glyphs")]:
        table = Table.load(path)
        full = Calibration.load(calibration_path(path), table)
        name = f"{table.family.name}, {len(full.archs)} networks"
        floor, points = report(name, full, args.random_share)
        repeat = mape_pct(np.array(full.first_ms), np.array(full.second_ms))
        curves.append((name, floor, repeat, points))
    if args.out:
        draw(args.out, curves)


if __name__ == "__main__":
    main()
