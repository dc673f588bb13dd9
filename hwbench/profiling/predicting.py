"""The latency of a model that is not run: from a table of kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.base import Settings, Target
from backends.kernels.files import ModelFile
from backends.kernels.graph import optimised
from backends.onnxruntime_cpu import OnnxRuntimeBackend
from compofa.errors import InputError
from hwbench import cli
from hwbench.profiling.measuring import network_kernels
from lut.kernels.calibrated import NetworkModel, NetworkPrediction
from lut.kernels.table import KernelTable, load

TOP = 15


@dataclass(frozen=True)
class Predicted:
    """What a table says of a model.

    Args:
        model: its name.
        target: whose latency it is.
        prediction: of the latency.
        networks: of the table, that it is calibrated on; 0 where it is a plain sum.
        notes: what else is to be known, in lines.
    """

    model: str
    target: Target
    prediction: NetworkPrediction
    networks: int
    notes: tuple[str, ...]


def predict_model(model: ModelFile, lut: Path, coverage: float = 0.9, force: bool = False) -> Predicted:
    """The latency of `model` on the target of the table of kernels at `lut`. The model is optimised by the ONNX Runtime
    that is here; it is run once, untimed, for its shapes.

    Args:
        model: any.
        lut: the table.
        coverage: of the interval.
        force: take a table of another version of the runtime, too.

    Raises:
        OSError: the table cannot be read.
        InputError: it is none, or of another version of the runtime, or has too few kernels.
    """
    table = load(lut)
    notes = _check_runtime(table, lut, force)
    with optimised(model, max(table.target.threads, 1)) as made:
        counts: Mapping[Any, int] = network_kernels(made)
        lost = [cut for cut in made.cuts if not cut.kernel]
    notes += [f"{cut.name} is left out: {cut.why_not}" for cut in lost]
    network = NetworkModel(table)
    if not network.calibrated:
        notes.append(
            f"{len(network.networks)} networks in the table are too few to calibrate: it is the plain sum of kernels"
        )
    prediction = network.predict(counts, coverage)
    return Predicted(
        model.name, table.target, prediction, len(network.networks) if network.calibrated else 0, tuple(notes)
    )


def _check_runtime(table: KernelTable, lut: Path, force: bool) -> list[str]:
    here = OnnxRuntimeBackend(Settings()).target
    if table.target.backend != here.backend:
        raise InputError(f"{lut} is a table of {table.target.backend}, whose fusions only that knows")
    if table.target.versions == here.versions:
        return []
    there, mine = (", ".join(f"{n} {v}" for n, v in t.versions) for t in (table.target, here))
    said = (
        f"{lut} is a table of another runtime version, {there}, and here is {mine}, which may fuse otherwise"
    )
    if not force:
        raise InputError(f"{said}: install that one, or give --force")
    return [said]


def to_dict(found: Predicted, coverage: float) -> dict[str, Any]:
    """All of it, JSON-ready."""
    p = found.prediction
    return {
        "model": found.model,
        "target": found.target.to_dict(),
        "origin": "predicted",
        "latency_ms": p.latency_ms,
        "low_ms": p.low_ms,
        "high_ms": p.high_ms,
        "coverage": coverage if p.low_ms is not None else None,
        "known_share": p.known_share,
        "sum_of_kernels_ms": p.sum_ms,
        "calibrated_on_networks": found.networks,
        "kernels": [
            {
                "kernel": str(g.kernel),
                "key": g.kernel.key,
                "nodes": g.nodes,
                "latency_ms": g.latency_ms,
                "origin": g.origin,
            }
            for g in p.kernels
        ],
        "notes": list(found.notes),
    }


def print_predicted(found: Predicted, coverage: float) -> None:
    """For people, on stdout."""
    p = found.prediction
    rows = [
        [str(g.kernel), str(g.nodes), f"{g.nodes * g.latency_ms:.4f}", g.origin]
        for g in p.kernels[:TOP]
        if g.latency_ms
    ]
    cli.print_table(f"{found.model}: kernels", ["kernel", "nodes", "ms", "origin"], rows)
    if p.low_ms is None or p.high_ms is None:
        print(f"latency  {p.latency_ms:.4f} ms predicted, a plain sum of kernels")
    else:
        print(
            f"latency  {p.latency_ms:.4f} ms predicted; {p.low_ms:.4f} to {p.high_ms:.4f} ms {100 * coverage:g} times "
            f"of 100, calibrated on {found.networks} networks"
        )
    print(f"known    {100 * p.known_share:.0f} % of the time is in kernels that the table has measured")
    print(f"target   {found.target}")
    for note in found.notes:
        cli.note(f"note: {note}")
