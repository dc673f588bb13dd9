"""Do devices rank subnets alike, and what does it cost to ship to one what was chosen for another?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from lut.scores import scores

Floats = NDArray[np.float64]


def compare(latencies: Sequence[Floats], accuracy: Floats) -> dict[str, Any]:
    """Of each pair of devices, JSON-ready.

    Args:
        latencies: of the same subnets on each device, shape (n,) each, NaN where not known.
        accuracy: of the subnets, as fractions, shape (n,).

    Returns:
        ``subnets``: how many are known on every device; ``spearman``: rank correlation of their latencies, a row a
        device; ``loss``: accuracy lost, in points, on the column's device by the networks on the frontier of the row's
        device, on average against the best of the same latency there. Values are None where there is nothing to tell.
    """
    count = len(latencies)
    known = np.isfinite(np.array(latencies)).all(axis=0) if count else np.zeros(0, dtype=bool)
    mine = [latency[known] for latency in latencies]
    enough = int(known.sum()) > 1
    pairs = [[(a, b) for b in range(count)] for a in range(count)]
    return {
        "subnets": int(known.sum()),
        "spearman": [[_spearman(mine[a], mine[b]) if enough else None for a, b in row] for row in pairs],
        "loss": [
            [loss_points(mine[a], mine[b], accuracy[known]) if enough else None for a, b in row]
            for row in pairs
        ],
    }


def _spearman(one: Floats, other: Floats) -> float | None:
    return scores(one, other)["spearman"]


def loss_points(chosen_by: Floats, shipped_to: Floats, accuracy: Floats) -> float:
    """Mean over the frontier on one device of the accuracy that a better choice of the same latency on another device
    would add, in points."""
    front = np.flatnonzero(
        moocore.is_nondominated(np.column_stack([chosen_by, accuracy]), maximise=(False, True))
    )
    order = np.argsort(shipped_to, kind="stable")
    best = np.maximum.accumulate(accuracy[order])
    within = np.searchsorted(shipped_to[order], shipped_to[front], side="right") - 1
    return float(100 * np.mean(best[within] - accuracy[front]))
