"""OFA's ResNet50 on a ZCU102, by the cycle model and as the Vitis AI model zoo publishes it.

The zoo says of each network only the side of its images and its operations, as in
``pt_OFA-resnet50_imagenet_224_224_15.0G``. The largest is OFA's largest subnet; of the others it is not told which
subnets they are, so 200 random ones of the same operations (within 3 %) stand for each, and the range of what the model
says of them is printed.

    python benchmarks/fpga_resnet.py ZOO.csv
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import numpy as np

from backends.base import Settings
from backends.fpga.backend import FpgaBackend
from compofa.blocks import total_macs
from compofa.network import arch_blocks
from compofa.spaces.arch import Arch, extreme
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space

FAMILY = get_family("resnet50d")
WITHIN = 0.03
WANTED, DRAWS = 200, 20_000


def giga_operations(arch: Arch) -> float:
    """Two for each multiply-accumulate."""
    return 2 * total_macs(arch_blocks(FAMILY, arch)) / 1e9


def alike(side: int, wanted: float, rng: np.random.Generator) -> list[Arch]:
    """Subnets at one side with about so many operations."""
    largest = extreme(FAMILY, largest=True, resolution=side)
    if abs(giga_operations(largest) / wanted - 1) < WITHIN:
        return [largest]
    space, found = get_space("ofa", FAMILY), []
    for _ in range(DRAWS):
        arch = space.sample(rng, side)
        if abs(giga_operations(arch) / wanted - 1) < WITHIN:
            found.append(arch)
        if len(found) == WANTED:
            break
    return found


def main() -> None:
    """Print the comparison."""
    rng, backend = (
        np.random.default_rng(0),
        FpgaBackend(Settings(precision="int8", options={"target": "zcu102-b4096"})),
    )
    print(f"published (one thread, end to end) against {backend.target.device}, int8, batch 1")
    with open(Path(sys.argv[1]), newline="") as file:
        rows = [row for row in csv.DictReader(file) if "OFA-resnet50" in row["zoo_name"]]
    for row in rows:
        found = re.search(r"_(\d+)_\d+_(?:[\d.]+_)?([\d.]+)G$", row["zoo_name"])
        assert found, row["zoo_name"]
        side, giga = found.groups()
        published = 1e3 / float(row["fps_thread1"])
        archs = alike(int(side), float(giga), rng)
        if not archs:
            print(f"{row['zoo_name']:45} {published:6.2f} ms   no subnet with {giga} G operations was drawn")
            continue
        modelled = [m.latency_ms for m in backend.network_latencies([arch_blocks(FAMILY, a) for a in archs])]
        low, middle, high = np.percentile(modelled, [0, 50, 100])
        which = "OFA's largest" if len(archs) == 1 else f"{len(archs)} subnets alike"
        print(
            f"{row['zoo_name']:45} {published:6.2f} ms   {middle:6.2f} ms ({low:.2f} to {high:.2f}; {which}), "
            f"{100 * (middle / published - 1):+.0f} %"
        )


if __name__ == "__main__":
    main()
