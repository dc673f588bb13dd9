"""One whole network on TensorRT-RTX: does this GPU take it? Prints one line of JSON, in the library's own words."""

from __future__ import annotations

import json
import sys

from backends.base import Settings
from backends.tensorrt.backend import TensorRTBackend
from compofa.errors import HwbenchError, Unavailable
from compofa.families import get_family
from compofa.spaces import get_space


def main() -> None:
    """``FAMILY SPACE RESOLUTION ENGINES``."""
    family, space, resolution, engines = sys.argv[1:]
    chosen = get_space(space, get_family(family))
    network = chosen.blocks(next(chosen.enumerate([int(resolution)])))
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
