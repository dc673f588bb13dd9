"""What a search found as a document for machines and as rows of a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwbench.searching.run import SearchResult
    from hwbench.subnets import Subnet
    from lut.costs import CostModel

NO_SUBNET = {"arch": None, "accuracy": None, "may_miss": None}


def describe(result: SearchResult) -> dict[str, Any]:
    """All of it, JSON-ready."""
    found, family = result.found, result.problem.space.family
    kept = [family.resolutions[i] for i in result.problem.resolutions]
    frontier = [_row(result, subnet) for subnet in result.frontier]
    results = [
        {
            "constraint": _limit(result, constraint),
            **(_row(result, best) if best else {**NO_SUBNET, **_no_costs(result), "unmet": result.unmet[i]}),
        }
        for i, (constraint, best) in enumerate(zip(result.constraints, result.best, strict=True))
    ]
    return {
        "space": result.problem.space.name,
        "family": family.name,
        "resolutions": kept,
        "resolutions_left_out": [r for r in family.resolutions if r not in kept],
        "cannot_run": {
            name: {
                "blocks": {str(block): reason for block, reason in lost.blocks.items()},
                "subnets": lost.subnets,
                "of": lost.of,
            }
            for name, lost in result.left_out.items()
        },
        "method": found.method,
        "exact": found.exact,
        "targets": {
            name: result.promises.get(name, source.cost).describe(source.file)
            for name, source in result.sources.items()
        },
        "costs": {
            cost.name: cost.label
            for cost in (
                *result.predicting.values(),
                *result.promises.values(),
                *result.counted,
            )
        },
        "confidence": next((promise.confidence for promise in result.promises.values()), None),
        "accuracy": str(result.accuracy.path),
        "accuracy_is": result.accuracy.origin,
        "accuracy_mae": result.accuracy.error,
        "accuracy_of": result.accuracy.of.to_dict(),
        "surrogate_residual": found.residual,
        "subnets_evaluated": found.evaluations,
        "seconds": result.seconds,
        "max_memory_mb": result.memory_mb,
        "measuring": result.measuring,
        "results": results or [{"constraint": None, **row} for row in frontier],
        "frontier": frontier,
    }


def _limit(result: SearchResult, constraint: dict[str, float]) -> float | dict[str, float]:
    """A lone limit as a number."""
    alone = len(result.problem.costs) == 1 and list(constraint) == list(result.sources)
    return next(iter(constraint.values())) if alone else constraint


def _row(result: SearchResult, subnet: Subnet) -> dict[str, Any]:
    """A subnet; latencies on several targets by their names."""
    row = subnet.to_dict()
    if len(result.sources) > 1:
        from hwbench.searching.run import columns_of

        for costs in _of_targets(result):
            for column, target in columns_of(costs).items():
                row.setdefault(costs[target].name, {})[target] = row.pop(column)
    return row


def _of_targets(result: SearchResult) -> list[Mapping[str, CostModel]]:
    """What is told for each target: the costs as predicted and, where that was asked for, as promised."""
    return [result.predicting, *([result.promises] if result.promises else [])]


def _no_costs(result: SearchResult) -> dict[str, None]:
    if len(result.sources) < 2:
        return dict.fromkeys(result.columns)
    return dict.fromkeys(cost.name for costs in _of_targets(result) for cost in costs.values())


def write_csv(path: Path, result: SearchResult) -> None:
    """The frontier as rows, at once: arch, accuracy, whether that is measured or predicted, and each cost."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arch", "accuracy", "accuracy_is", *result.columns])
    for subnet in result.frontier:
        numbers = [f"{value:.6g}" for value in subnet.costs.values()]
        writer.writerow([str(subnet.arch), f"{subnet.accuracy:.6g}", result.accuracy.origin, *numbers])
    write_atomically(path, text.getvalue())
