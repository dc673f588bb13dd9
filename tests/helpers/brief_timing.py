"""Profiles in no time, for tests of what is shown rather than of how well it was measured."""

from __future__ import annotations

import pytest


def time_briefly(patch: pytest.MonkeyPatch) -> None:
    """Have kernels, networks, the machine's ceilings and the reference timed by a few runs each."""
    from backends.kernels import bench
    from backends.measuring import backend
    from backends.measuring.timing import TimingSettings
    from hwbench.profiling import measuring

    short = TimingSettings(rounds=3, round_ms=0.1, max_warmup_ms=1.0)
    defaults = bench.KernelBench.kernels.__defaults__
    patch.setattr(bench.KernelBench.kernels, "__defaults__", (*(defaults or ())[:-1], short))
    patch.setattr(bench.KernelBench.networks, "__defaults__", (short,))
    patch.setattr(measuring, "CEILING_TIMING", short)
    patch.setattr(backend, "MEASURE_S", 0.05)
