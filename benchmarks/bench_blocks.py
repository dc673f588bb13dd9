"""How well blocks that nobody measured are predicted: the published Note10 tables, some resolutions hidden.

Fitted on 160, 192 and 224 px, asked at 176 and 208 px: error by block, and of the sums of 1,000 random subnets. The
peers are a line over the area for each family of blocks, the costs alone, and the estimators of hwbench.fit.
Needs the tables in HWBENCH_SHARED_DATA, or ../shared/data (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from shared_data import SHARED

from backends.base import Network
from compofa.blocks import Block
from compofa.spaces.space import Space, get_space
from lut.design import next_blocks
from lut.formats.ofa import read_ofa
from lut.predictors import ESTIMATORS
from lut.predictors.base import Floats, Rows
from lut.predictors.block_rows import block_rows
from lut.predictors.residual import Fitted, RooflineResidual
from lut.scores import mape_pct

TRAIN, TEST = (160, 192, 224), (176, 208)
SOME = 60
"""Of a resolution's 96 entries."""
SEEDS = 5
Entries = list[tuple[Block, float]]
Predict = Callable[[Sequence[Block]], Floats]


# --- the models ---


def by_rows(fit: Callable[[Rows, Floats], Callable[[Rows], Floats]]) -> Callable[[Entries], Predict]:
    """A model of feature rows as one of entries."""

    def fitted(entries: Entries) -> Predict:
        blocks, latency = zip(*entries, strict=True)
        predict = fit(block_rows(blocks), np.array(latency))
        return lambda asked: predict(block_rows(asked))

    return fitted


def line_over_area(entries: Entries) -> Predict:
    """``a + b * area`` for the blocks that differ in nothing but the resolution; NaN where fewer than two are
    known."""
    families: dict[Block, Entries] = {}
    for block, ms in entries:
        families.setdefault(_anywhere(block), []).append((block, ms))

    def one(block: Block) -> float:
        known = families.get(_anywhere(block), [])
        areas = [_area(b) for b, _ in known]
        if not known or (len(set(areas)) == 1 and areas[0] != _area(block)):
            return float("nan")
        latency = [ms for _, ms in known]
        if len(set(areas)) == 1:
            return float(np.mean(latency))
        return float(np.polyval(np.polyfit(areas, latency, 1), _area(block)))

    return lambda asked: np.array([one(block) for block in asked])


def _area(block: Block) -> int:
    return block.in_shape[1] * block.in_shape[2] + block.out_shape[1] * block.out_shape[2]


def _anywhere(block: Block) -> Block:
    """`block` at a side of 1."""
    return replace(block, in_shape=(block.in_shape[0], 1, 1))


MODELS: dict[str, Callable[[Entries], Predict]] = {
    "costs + kernel": by_rows(lambda rows, ms: RooflineResidual().fit(rows, ms).predict),
    "costs alone": by_rows(lambda rows, ms: Fitted.of(rows, ms, with_kernel=False).costs_ms),
    "line over area": line_over_area,
    **{
        f"fit's {name}": by_rows(lambda rows, ms, kind=kind: kind(0).fit(rows, ms).predict)  # type: ignore[misc]
        for name, kind in ESTIMATORS.items()
        if kind.unavailable() is None
    },
}


# --- the scores ---


def networks(space: Space, count: int, resolution: int) -> list[Network]:
    """Random ones."""
    rng = np.random.default_rng(resolution)
    return [space.blocks(space.sample(rng, resolution)) for _ in range(count)]


def scores(predict: Predict, tables: dict[int, dict[Block, float]], space: Space) -> str:
    """Errors over the hidden resolutions."""
    block, sums, unanswered = [], [], 0
    for resolution in TEST:
        truth = tables[resolution]
        guess = predict(list(truth))
        unanswered += int(np.isnan(guess).sum())
        measured = np.array(list(truth.values()))
        block.append(np.abs(guess / measured - 1))
        by_block = dict(zip(truth, guess.tolist(), strict=True))
        nets = networks(space, 1000, resolution)
        totals = np.array([[sum(of[b] for b in net) for of in (truth, by_block)] for net in nets])
        sums.append(np.abs(totals[:, 1] / totals[:, 0] - 1))
    errors = np.concatenate(block)
    text = f"block {100 * np.nanmean(errors):5.2f} % (worst {100 * np.nanmax(errors):5.1f} %)"
    of_sums = np.concatenate(sums)
    if unanswered:
        return f"{text}, {unanswered} of {len(errors)} without an answer"
    return f"{text}, sums {100 * of_sums.mean():.2f} % (worst {100 * of_sums.max():.1f} %)"


def some_of(table: dict[Block, float], seed: int, space: Space | None = None, resolution: int = 0) -> Entries:
    """:data:`SOME` entries of a resolution: chosen for networks of `space` if given, else at random."""
    rng = np.random.default_rng(seed)
    blocks = list(table)
    if space is None:
        return [(blocks[i], table[blocks[i]]) for i in rng.permutation(len(blocks))[:SOME]]
    known: dict[Block, float] = {}
    for count in (32, SOME - 32):
        known |= {
            b: table[b] for b in next_blocks(blocks, networks(space, 200, resolution), known, count, rng)
        }
    return list(known.items())


def same_resolution(tables: dict[int, dict[Block, float]], space: Space | None) -> None:
    """The gaps of a table of one resolution, from its other entries."""
    errors, covered = [], []
    for resolution, table in tables.items():
        for seed in range(SEEDS):
            known = dict(some_of(table, seed, space, resolution))
            rest = [block for block in table if block not in known]
            truth = np.array([table[block] for block in rest])
            model = RooflineResidual(seed).fit(block_rows(list(known)), np.array(list(known.values())))
            low, high = model.interval(block_rows(rest))
            covered.append(np.mean((low <= truth) & (truth <= high)))
            errors.append(mape_pct(truth, model.predict(block_rows(rest))))
    print(
        f"  block {np.mean(errors):.2f} % (by table {min(errors):.2f}-{max(errors):.2f} %), "
        f"{100 * np.mean(covered):.0f} % covered at 90 %"
    )


def main() -> None:
    """Print the figures."""
    files = {r: SHARED / "note10_lut" / f"{r}_lookup_table.yaml" for r in sorted((*TRAIN, *TEST))}
    if not all(path.is_file() for path in files.values()):
        raise SystemExit(f"no Note10 tables in {SHARED}")
    read = {r: read_ofa(path) for r, path in files.items()}
    tables = {r: {b: m.latency_ms for b, m in table.entries.items()} for r, table in read.items()}
    space = get_space("ofa", read[160].family)
    for title, share in (("all entries", None), (f"{SOME} of 96 entries at random, seed 0", 0)):
        print(f"fitted on {title} at {TRAIN} px, asked at {TEST} px")
        known = [
            entry for r in TRAIN for entry in (tables[r].items() if share is None else some_of(tables[r], r))
        ]
        for name, fit in MODELS.items():
            print(f"  {name:17} {scores(fit(known), tables, space)}", flush=True)
    for how in ("at random", "chosen"):
        print(f"costs + kernel, {SOME} of 96 entries {how}, the same question")
        for seed in range(SEEDS):
            chosen = space if how == "chosen" else None
            known = [entry for r in TRAIN for entry in some_of(tables[r], seed + r, chosen, r)]
            print(f"  seed {seed}: {scores(MODELS['costs + kernel'](known), tables, space)}", flush=True)
    for how in ("at random", "chosen"):
        print(f"costs + kernel, the other 36 entries of the same resolution, from {SOME} {how}")
        same_resolution(tables, space if how == "chosen" else None)


if __name__ == "__main__":
    main()
