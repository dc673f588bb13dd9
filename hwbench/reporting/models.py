"""ONNX models in a report: what tables of kernels predict of their latency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compofa.errors import InputError
from lut.kernels.packed import unpacked

TOP = 3
"""Kernels that are named."""


def split_tables(paths: Sequence[Path], want_kernels: bool) -> tuple[list[Path], list[Path]]:
    """Tables of blocks, and tables of kernels.

    Raises:
        InputError: there is no table of blocks, or one of kernels that nothing is asked of.
        OSError: a file cannot be read.
    """
    from lut.kernels.table import FORMAT

    kernels = [path for path in paths if FORMAT.encode() in _start(path)]
    blocks = [path for path in paths if path not in kernels]
    if kernels and not want_kernels:
        raise InputError(
            f"{kernels[0]} is a table of kernels, which answers for models: give some with --onnx"
        )
    if not blocks:
        raise InputError("--lut names no table of blocks: build one with hwbench build_lut")
    return blocks, kernels


def _start(path: Path) -> bytes:
    if path.suffix == ".gz":
        return unpacked(path)[:200]
    with path.open("rb") as file:
        return file.read(200)


def predict_models(models: Sequence[Path], tables: Sequence[Path]) -> list[dict[str, Any]]:
    """Each model on the device of each table of kernels, JSON-ready; on that of the shipped one if none is given.

    Raises:
        InputError: a file is broken, or a table is of another runtime.
        OSError: a file cannot be read.
    """
    if not models:
        return []
    from backends.kernels.files import read_model
    from hwbench import cli, shipped
    from hwbench.profiling.predicting import predict_model, to_dict

    if not tables:
        cli.note(
            "no table of kernels is given with --lut: the models' latencies are of the shipped one's machine"
        )
    coverage = 0.9
    found = []
    for path in models:
        model = read_model(path, {}, 1)
        for table in tables or [shipped.kernels()]:
            said = to_dict(predict_model(model, table, coverage), coverage)
            found.append({**said, "device": said["target"]["device"], "kernels": _most(said)})
    return found


def _most(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The kernels that take most of the time, with their share of the sum of all."""
    shares = [
        (k["nodes"] * k["latency_ms"] / (said["sum_of_kernels_ms"] or 1.0), k["kernel"])
        for k in said["kernels"]
    ]
    return [{"kernel": kernel, "share": share} for share, kernel in sorted(shares, reverse=True)[:TOP]]
