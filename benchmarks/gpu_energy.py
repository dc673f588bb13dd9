"""How far the sums of a table's energies are from whole networks, measured on its device. See docs/gpu.md.

    python -m hwbench.build_lut --backend torch --device cuda --precision fp16 --batch 64 --energy yes \\
        --family imagenet-w1.0 --resolutions 224 --out gpu-tables/energy.jsonl
    python benchmarks/gpu_energy.py --lut gpu-tables/energy.jsonl --out gpu-tables/energies.jsonl

Each network is a line of the file at once, and the same command goes on with what is missing. The last lines are the
scores as JSON, in the names of latencies: raw and calibrated (leave-one-out), as ``validate`` gives them.

The first table of energies was measured on a device that waited while its counter was read. With ``--idle-watts`` what
it used meanwhile is taken off, of blocks and networks alike; nothing is measured:

    python benchmarks/gpu_energy.py --lut docs/results/gpu-h100-energy.jsonl \\
        --out docs/results/gpu-h100-energy.networks --space compofa --idle-watts 120
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.measuring.energy import SMALLEST_MJ
from compofa.errors import HwbenchError, InputError
from compofa.files import AppendFile, parse_json

if TYPE_CHECKING:
    from backends.base import Backend
    from compofa.spaces.arch import Arch
    from lut.table import Table


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    p.add_argument("--lut", type=Path, required=True, help="a table that was built with --energy yes")
    p.add_argument("--space", default="ofa")
    p.add_argument("--subnets", type=int, default=40, help="whole networks to compare the sums with")
    p.add_argument("--cache", help="of engines, for TensorRT")
    p.add_argument(
        "--within", type=float, default=float("inf"), metavar="S", help="begin nothing after so many seconds"
    )
    p.add_argument(
        "--idle-watts",
        type=float,
        metavar="W",
        help="measure nothing, and take off so much for the time of waiting",
    )
    p.add_argument("--out", type=Path, required=True, help="lines of JSON")
    return p


def of_energies(table: Table, idle_watts: float = 0.0) -> Table:
    """The blocks of `table` whose energy was counted, with it, in millijoules, where the latency stood; less what the
    device used in the time that a run took beyond its latency.

    Raises:
        InputError: there are none.
    """
    counted = {block: dict(m.details) for block, m in table.entries.items()}
    entries = {}
    for block, said in counted.items():
        measured = table.entries[block]
        if isinstance(said.get("energy_mj"), float):
            mj = max(_less_waiting({**said, "latency_ms": measured.latency_ms}, idle_watts), SMALLEST_MJ)
            entries[block] = replace(measured, latency_ms=mj, low_ms=mj, high_ms=mj, rounds_ms=(), details=())
    if not entries:
        raise InputError("the table holds no energies: build it with --energy yes")
    return type(table)(table.header, entries)


def _less_waiting(said: Mapping[str, Any], idle_watts: float) -> float:
    """Millijoules, from a line of the file or an entry's details."""
    return float(said["energy_mj"] - idle_watts * (said["energy_ms"] - said["latency_ms"]))


def without_waiting(table: Table, archs: Sequence[Arch], out: Path, idle_watts: float) -> dict[str, Any]:
    """The networks in `out` held against the sums of `table`, both less what the device used while it waited."""
    head, *lines = [parse_json(line) for line in out.read_bytes().splitlines()]
    found = {line["of"]: _less_waiting(line, idle_watts) for line in lines}
    return {**head, "idle_watts": idle_watts, **compare(of_energies(table, idle_watts), archs, found)}


def measure_all(
    backend: Backend, table: Table, archs: Sequence[Arch], out: Path, *, within_s: float = float("inf")
) -> dict[str, Any]:
    """Measure the networks that `out` lacks, add them there, and hold the sums of `table` against all of them.

    Args:
        backend: that counts energy.
        table: of its target, see :func:`of_energies`.
        archs: the networks.
        out: the file.
        within_s: begin no network after so many seconds.
    """
    from compofa.network import arch_blocks

    began = time.monotonic()
    head = {"target": backend.target.to_dict(), "origin": "measured", "unit": "mJ a run"}
    with AppendFile(out) as file:
        found = _known(file, head)
        for arch in archs:
            if str(arch) in found or time.monotonic() - began >= within_s:
                continue
            (measured,) = backend.network_latencies([arch_blocks(table.family, arch)])
            line = {"of": str(arch), "latency_ms": measured.latency_ms, **dict(measured.details)}
            file.append(json.dumps(line).encode() + b"\n")
            found[str(arch)] = float(line["energy_mj"])
    return {**head, "blocks": len(table.entries), **compare(table, archs, found)}


def _known(file: AppendFile, head: dict[str, Any]) -> dict[str, float]:
    """Millijoules that stand in the file, by network; its first line says of what."""
    first, *lines = [parse_json(line) for line in file.content.splitlines()] or [None]
    if first is None:
        file.append(json.dumps(head).encode() + b"\n")
    elif first != head:
        raise InputError(f"{file.path} holds energies of another target; choose another file")
    return {line["of"]: line["energy_mj"] for line in lines}


def compare(table: Table, archs: Sequence[Arch], found: dict[str, float]) -> dict[str, Any]:
    """The networks that were measured: how far the sums are from them, plain and calibrated (leave-one-out)."""
    from lut.calibration import MIN_NETWORKS, Calibration
    from lut.scores import scores

    measured = tuple(arch for arch in archs if str(arch) in found)
    if len(measured) < MIN_NETWORKS:
        return {"networks": len(measured)}
    calibration = Calibration(table, measured, tuple(found[str(arch)] for arch in measured))
    return {
        "networks": len(measured),
        "raw": scores(calibration.measured_ms, calibration.raw_ms),
        "calibrated": scores(calibration.measured_ms, calibration.held_out_ms),
        "terms": dict(calibration.model.coefficients),
    }


def main() -> int:
    """Measure on the table's device; the exit codes are hwbench's."""
    from compofa.spaces.space import get_space
    from hwbench.cli import exit_code
    from hwbench.validating.measuring import check_target, open_backend
    from hwbench.validating.subnets import draw_at
    from lut.table import Table

    args = parser().parse_args()
    try:
        table = Table.load(args.lut)
        space = get_space(args.space, table.family)
        archs = draw_at(table.header.resolutions, space, args.subnets, np.random.default_rng(0))
        if args.idle_watts is not None:
            print(json.dumps(without_waiting(table, archs, args.out, args.idle_watts), indent=1))
            return 0
        energies = of_energies(table)
        options = {"energy": "yes", **({"cache": args.cache} if args.cache else {})}
        backend = open_backend(table.target, 0, options)
        check_target(table.target, backend.target, force=False)
        summary = measure_all(backend, energies, archs, args.out, within_s=args.within)
    except HwbenchError as error:
        print(f"gpu_energy: error: {' '.join(str(error).split())}", file=sys.stderr)
        return exit_code(error)
    print(json.dumps(summary, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
