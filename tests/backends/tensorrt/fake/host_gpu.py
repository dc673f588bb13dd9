"""A GPU's place, taken by the host: what :class:`backends.machine.gpu.Gpu` offers to the TensorRT backend.

Run as a program it is the process that builds engines.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.device import Device


class Array:
    def __init__(self, values: NDArray[Any]) -> None:
        self.values = np.array(values)

    def data_ptr(self) -> int:
        return self.values.ctypes.data


class HostGpu(Device):
    name = "Host GPU"
    versions = (("driver", "1"),)
    capability = "9.0"
    stream_handle = 7

    def array(self, values: NDArray[Any]) -> Array:
        return Array(values)

    def host(self, array: Array) -> NDArray[Any]:
        return array.values

    def synchronize(self) -> None:
        pass


if __name__ == "__main__":
    from backends.tensorrt.build import serve

    with os.fdopen(int(sys.argv[1]), "w") as answers:
        serve(sys.stdin, answers, HostGpu())
