"""Millijoules of blocks and of whole networks on a GPU, and how far the sums are from the whole. See docs/gpu.md.

    python benchmarks/gpu_energy.py --precision fp16 --batch 64 --out gpu-tables/energy.jsonl

Each finding is a line of the file at once, and the same command goes on with what is missing. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compofa.errors import HwbenchError, InputError
from compofa.files import AppendFile, parse_json

if TYPE_CHECKING:
    from backends.chained import ChainBackend
    from backends.gpu_energy import Energy, Measure
    from compofa.spaces.arch import Arch
    from compofa.spaces.space import Space


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    p.add_argument("--family", default="imagenet-w1.0")
    p.add_argument("--space", default="ofa")
    p.add_argument("--resolution", type=int, default=224, help="in pixels")
    p.add_argument("--precision", default="fp16")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--subnets", type=int, default=40, help="whole networks to compare the sums with")
    p.add_argument("--seconds", type=float, default=0.6, help="of each loop")
    p.add_argument(
        "--within", type=float, default=float("inf"), metavar="S", help="begin nothing after so many seconds"
    )
    p.add_argument("--out", type=Path, required=True, help="lines of JSON")
    return p


def measure_all(
    backend: ChainBackend,
    space: Space,
    archs: Sequence[Arch],
    measure: Measure,
    out: Path,
    *,
    within_s: float = float("inf"),
) -> dict[str, Any]:
    """Measure what `out` lacks, add it there, and compare the sums with the networks, as far as both are there."""
    from backends.gpu_energy import block_energy, network_energies

    began = time.monotonic()
    blocks = dict.fromkeys(block for arch in archs for block in space.blocks(arch))
    with AppendFile(out) as file:
        head = {"target": backend.target.to_dict(), "origin": "measured", "unit": "mJ a run"}
        found = _known(file, head)

        def add(name: str, energy: Energy) -> None:
            found[name] = energy.mj
            line = {"of": name, "mj": energy.mj, "ms": energy.ms, "steps": energy.steps}
            file.append(json.dumps(line).encode() + b"\n")

        for block in blocks:
            if str(block) not in found and time.monotonic() - began < within_s:
                add(str(block), block_energy(backend, block, measure))
        for arch in archs:
            if str(arch) not in found and time.monotonic() - began < within_s:
                (energy,) = network_energies(backend, [space.blocks(arch)], measure)
                add(str(arch), energy)
    return {**head, "blocks": sum(str(block) in found for block in blocks), **compare(found, space, archs)}


def _known(file: AppendFile, head: dict[str, Any]) -> dict[str, float]:
    """What stands in the file, by name; the first line says of what."""
    first, *lines = [parse_json(line) for line in file.content.splitlines()] or [None]
    if first is None:
        file.append(json.dumps(head).encode() + b"\n")
    elif first != head:
        raise InputError(f"{file.path} holds energies of another target; choose another file")
    return {line["of"]: line["mj"] for line in lines}


def compare(found: Mapping[str, float], space: Space, archs: Sequence[Arch]) -> dict[str, Any]:
    """The networks whose blocks are all there: how far their sums are from them, plain, and after a line was fitted to
    the others (leave-one-out), in percent."""
    pairs = [
        (sum(found[str(block)] for block in space.blocks(arch)), found[str(arch)])
        for arch in archs
        if str(arch) in found and all(str(block) in found for block in space.blocks(arch))
    ]
    if len(pairs) < 4:
        return {"networks": len(pairs)}
    sums, wholes = np.array(pairs).T
    held_out = [_line(np.delete(sums, i), np.delete(wholes, i), sums[i]) for i in range(len(sums))]
    return {
        "networks": len(pairs),
        "raw_mape_pct": 100 * float(np.mean(np.abs(sums / wholes - 1))),
        "calibrated_mape_pct": 100 * float(np.mean(np.abs(np.array(held_out) / wholes - 1))),
    }


def _line(x: Any, y: Any, at: float) -> float:
    slope, shift = np.polyfit(x, y, 1)
    return float(slope * at + shift)


def main() -> int:
    """Measure on the first GPU; the exit codes are hwbench's."""
    from backends.base import Settings
    from backends.torch_backend import TorchBackend
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space
    from hwbench.cli import exit_code

    args = parser().parse_args()
    try:
        space = get_space(args.space, get_family(args.family))
        rng = np.random.default_rng(0)
        archs = [space.sample(rng, args.resolution) for _ in range(args.subnets)]
        backend = TorchBackend(Settings(args.precision, args.batch, options={"device": "cuda"}))

        from backends.gpu_energy import energy_of, open_counter

        counter = open_counter(str(backend.device.properties.uuid))  # type: ignore[attr-defined]
        summary = measure_all(
            backend,
            space,
            archs,
            lambda case: energy_of(case, counter, least_s=args.seconds),
            args.out,
            within_s=args.within,
        )
    except HwbenchError as error:
        print(f"gpu_energy: error: {' '.join(str(error).split())}", file=sys.stderr)
        return exit_code(error)
    print(json.dumps(summary, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
