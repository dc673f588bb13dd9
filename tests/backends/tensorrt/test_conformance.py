"""The rules for backends (hwbench.testing), with the host in the GPU's place (fake/host_gpu.py)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.base import Backend, Settings
from backends.chained import CPU_TIMINGS, Timings
from backends.tensorrt import library
from backends.tensorrt.backend import TensorRTBackend
from compofa.blocks import Block
from hwbench.testing import BackendConformance

QUICK = Timings(
    replace(CPU_TIMINGS.blocks, rounds=2, round_ms=0.2, max_warmup_ms=1.0),
    replace(CPU_TIMINGS.networks, rounds=2, round_ms=0.2, max_warmup_ms=1.0),
)


@pytest.fixture(scope="module", autouse=True)
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One folder for the engines of all rules: each is built once."""
    folder = tmp_path_factory.mktemp("engines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWBENCH_TEST_ENGINES", str(folder))
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
        patch.setenv("HWBENCH_HOME", str(folder))
        patch.syspath_prepend(str(Path(__file__).parent / "fake"))
        patch.setattr(TensorRTBackend, "probe", classmethod(lambda cls: None))
        library.use(library.RTX)
        import host_gpu

        from backends.tensorrt import calls

        patch.setattr(calls, "Engine", host_gpu.HostEngine)
        yield
    sys.modules.pop("host_gpu", None)


@pytest.mark.needs_rtx
class TestTensorRT(BackendConformance):
    settings = Settings("fp16", options={"runtime": "rtx"})
    small = Block("mbconv", (8, 4, 4), 8, 16, kernel=3, act="relu", shortcut=True)
    large = Block("mbconv", (24, 14, 14), 24, 96, kernel=5, act="hswish", shortcut=True)

    def make(self, settings: Settings) -> Backend:
        import host_gpu

        gpu: Any = host_gpu.HostGpu("8.9")
        return TensorRTBackend(settings, QUICK, gpu=gpu, command=host_gpu.command)
