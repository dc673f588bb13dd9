"""The rules for backends (hwbench.testing), on this machine."""

from __future__ import annotations

import pytest

from backends.base import Backend, Settings
from backends.measuring.timing import TimingSettings
from backends.tvm.backend import TvmBackend
from compofa.blocks import Block
from hwbench.testing import BackendConformance

QUICK = TimingSettings(rounds=2, rotation=4, max_warmup_ms=2.0)


@pytest.mark.needs_tvm
class TestTvm(BackendConformance):
    small = Block("linear", (8, 1, 1), 8)
    large = Block("conv", (16, 14, 14), 16, kernel=3, act="relu")

    def make(self, settings: Settings) -> Backend:
        return TvmBackend(settings, block_timing=QUICK, network_timing=QUICK)
