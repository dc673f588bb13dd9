"""Would a reference that streams through memory follow what the small one does not see?

    python benchmarks/bench_references.py

Networks of ``imagenet-w1.0`` at 160 px are measured in several passes, each made ready anew. All networks of a pass are
a few per cent faster or slower together than those of another. Beside them fully connected layers of 2, 6 and 16 MB of
weights are timed; printed is how far their pace, beside the small reference's, goes with that of the passes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from backends.base import Settings
from backends.machine.clocks import Case
from backends.measuring.rotation import NETWORK_TIMING
from backends.measuring.timing import time_beside
from backends.onnxruntime_cpu import OnnxRuntimeBackend
from compofa.blocks import Block
from compofa.network import arch_blocks
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from hwbench.validating.subnets import draw_at

MEGABYTES = (2, 6, 16)
INPUTS = 1024
LOOKS = 4
"""At the streams within a pass, between rounds of the networks."""
RUNS = 5
"""Of a stream in one look; the median counts."""


def stream(backend: OnnxRuntimeBackend, megabytes: float) -> Case:
    """A fully connected layer with so many megabytes of weights."""
    layer = Block("linear", (INPUTS, 1, 1), round(megabytes * 1e6 / 4 / INPUTS))
    return backend._case((layer,), 0)


def main() -> None:
    """Print the passes' pace, the streams', and what they have to do with each other."""
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.partition("\n")[0])
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--subnets", type=int, default=16)
    args = parser.parse_args()

    family = get_family("imagenet-w1.0")
    archs = draw_at([160], get_space("ofa", family), args.subnets, np.random.default_rng(0))
    networks = [arch_blocks(family, arch) for arch in archs]
    backend = OnnxRuntimeBackend(Settings())
    pacer = backend.beside.pacer
    streams = [stream(backend, megabytes) for megabytes in MEGABYTES]
    settings = replace(NETWORK_TIMING, rounds=3)

    paces, streamed = [], []
    for turn in range(args.passes):
        cases = [backend._case(network, 0) for network in networks]
        looks, ratios = [], []
        for part in range(LOOKS):
            looks.append(
                [np.median([case(1).seconds for _ in range(RUNS)]) / pacer.read() for case in streams]
            )
            timing = time_beside(pacer, cases, settings, seed=LOOKS * turn + part)
            ratios.append(np.nanmedian(timing.ratios, axis=1))
        paces.append(np.log(np.median(ratios, axis=0)).mean())
        streamed.append(np.log(np.median(looks, axis=0)))

    pace = 100 * (np.array(paces) - np.mean(paces))
    print(f"networks, all of a pass: {np.round(pace, 1)} %")
    for megabytes, column in zip(MEGABYTES, np.array(streamed).T, strict=True):
        moved = 100 * (column - column.mean())
        r = np.corrcoef(pace, moved)[0, 1]
        print(f"{megabytes:2d} MB of weights: {np.round(moved, 1)} %, correlation {r:.2f}")


if __name__ == "__main__":
    main()
