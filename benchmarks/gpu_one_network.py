"""One whole network on TensorRT-RTX: does this GPU take it? Prints one line of JSON, in the library's own words."""

from __future__ import annotations

import json
import sys

import numpy as np

from backends.base import Settings
from backends.tensorrt.backend import TensorRTBackend
from compofa.errors import HwbenchError, Unavailable
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from hwbench.validating.subnets import draw_at


def main() -> None:
    """``FAMILY SPACE RESOLUTION SUBNETS ENGINES``."""
    family, space, resolution, subnets, engines = sys.argv[1:]
    chosen = get_space(space, get_family(family))
    # The first that validate measures: its engine was prepared with the others.
    arch, *_ = draw_at([int(resolution)], chosen, int(subnets), np.random.default_rng(0))
    network = chosen.blocks(arch)
    try:
        backend = TensorRTBackend(Settings("fp16", options={"runtime": "rtx", "cache": engines}))
        (found,) = backend.network_latencies([network])
    except HwbenchError as error:
        kind = "unavailable" if isinstance(error, Unavailable) else "failed"
        print(json.dumps({kind: " ".join(str(error).split())}))
        return
    print(json.dumps({"latency_ms": found.latency_ms, "target": backend.target.to_dict()}))


if __name__ == "__main__":
    main()
