"""Building a table from fewer measurements: the blocks that tell most are measured, the others predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    from compofa.blocks import Block
    from compofa.spaces.space import Space
    from lut.store import Writer

NETWORKS = 200
"""Random ones, whose latencies the measurements are to tell."""


def check_budget(budget: int) -> None:
    """Raise ValueError if so few measurements cannot predict the rest."""
    from lut.predictors.residual import MIN_ROWS

    if budget < MIN_ROWS:
        raise InputError(
            f"--budget must be at least {MIN_ROWS}: fewer measurements do not predict other blocks"
        )


def informative_batches(
    writer: Writer, space: Space, resolutions: Sequence[int], *, budget: int, seed: int, size: int
) -> Iterator[list[Block]]:
    """Blocks to measure, `size` at a time, until `budget` of the space's blocks are; each batch is chosen by what
    `writer` holds when it is asked for, so what came before must have been appended. A block that failed is not
    asked for again, nor is what networks with it would need."""
    import numpy as np

    from lut.design import next_blocks
    from lut.table import known_entries

    rng = np.random.default_rng(seed)
    blocks = space.all_blocks(resolutions)
    networks = [space.blocks(space.sample(rng, int(rng.choice(resolutions)))) for _ in range(NETWORKS)]
    asked: set[Block] = set()
    while True:
        known = known_entries(writer.entries)
        failed = asked & writer.failures.keys()
        usable = [block for block in blocks if block not in failed]
        runnable = [network for network in networks if not failed.intersection(network)]
        left = budget - sum(block in known for block in blocks)
        measured_ms = {block: m.latency_ms for block, m in known.items()}
        batch = next_blocks(usable, runnable, measured_ms, min(left, size), rng) if left > 0 else []
        if not batch:
            return
        asked.update(batch)
        yield batch


def predict_rest(writer: Writer, blocks: Sequence[Block], seed: int) -> dict[str, Any]:
    """Append predictions for those of `blocks` that were not measured; not for those that cannot be run.

    Returns:
        How many, and how good they are by cross-validation over the measured ones, JSON-ready.
    """
    from lut.gaps import predict_missing

    runnable = [block for block in blocks if block not in writer.failures]
    filling = predict_missing(writer.entries, runnable, seed)
    writer.append((block, m) for block, m in filling.entries.items() if writer.entries.get(block) != m)
    errors = filling.predictor.cv_mape_pct
    cli.note(
        f"predicted {len(filling.entries)} blocks from {filling.known} measured ones "
        f"(cross-validated error of a block {errors[filling.predictor.chosen]:.1f} %)"
    )
    return {
        "blocks": len(filling.entries),
        "from": filling.known,
        "model": filling.predictor.chosen,
        "cv_mape_pct": errors,
    }
