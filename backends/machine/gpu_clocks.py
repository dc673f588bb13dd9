"""What a GPU's clocks did while it was timed: a GPU that was held back is not measured at its own speed.

Clocks and the reasons that hold them back are read through NVML (package ``nvidia-ml-py``), between rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.device import Conditions

HELD_BACK = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits of NVML's clocks event reasons (nvml.h); the others (idle, clocks set by the user, sync boost) are
as somebody wanted it."""
IDLE = 0x01
STEADY_CLOCK = 0.05
"""Spread of the clock between rounds, as a fraction of its median, from which on it is no steady clock."""


@dataclass(frozen=True)
class Sample:
    """One reading; `reasons` is NVML's bit mask."""

    sm_clock_mhz: float
    memory_clock_mhz: float
    temperature_c: float
    reasons: int = 0


def verdict(samples: Sequence[Sample]) -> Conditions:
    """What to keep with the measurements taken meanwhile: the median SM clock, its spread, the memory clock, the
    highest temperature, and what held the clocks back."""
    busy = [sample for sample in samples if not sample.reasons & IDLE] or list(samples)
    if not busy:
        return Conditions((("clocks", "unknown"),))
    clocks = np.array([sample.sm_clock_mhz for sample in busy])
    median = float(np.median(clocks))
    spread = float(np.ptp(clocks)) / median if median else 0.0
    seen = 0
    for sample in busy:
        seen |= sample.reasons
    reasons = [name for bit, name in HELD_BACK.items() if seen & bit]
    if spread > STEADY_CLOCK:
        reasons.append("clock not steady")
    details: dict[str, float | str] = {
        "sm_clock_mhz": median,
        "sm_clock_spread_pct": round(100 * spread, 2),
        "memory_clock_mhz": float(np.median([sample.memory_clock_mhz for sample in busy])),
        "temperature_c": max(sample.temperature_c for sample in busy),
    }
    if reasons:
        details["held_back"] = ", ".join(reasons)
    return Conditions(tuple(details.items()), throttled=bool(reasons))


class GpuMonitor:
    """Collects samples of one GPU; of none where NVML is not to be had.

    Args:
        nvml: the module ``pynvml``, initialised; None for no samples.
        handle: NVML's, of the GPU.
    """

    def __init__(self, nvml: Any = None, handle: Any = None) -> None:
        self._nvml, self._handle = nvml, handle
        self._samples: list[Sample] = []
        self.driver = str(nvml.nvmlSystemGetDriverVersion()) if nvml else None

    def sample(self) -> None:
        """Read the clocks now."""
        if self._nvml is None:
            return
        nvml, handle = self._nvml, self._handle
        self._samples.append(
            Sample(
                sm_clock_mhz=nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
                memory_clock_mhz=nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
                temperature_c=nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
                reasons=nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            )
        )

    def take(self) -> list[Sample]:
        """The samples since the last call."""
        samples, self._samples = self._samples, []
        return samples


def open_monitor(uuid: str) -> GpuMonitor:
    """The monitor of the GPU with CUDA's `uuid`; one without samples where NVML is not to be had."""
    try:
        import pynvml

        pynvml.nvmlInit()
        monitor = GpuMonitor(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}"))
        monitor.sample()  # virtual GPUs and some others answer some questions only
        monitor.take()
        return monitor
    except Exception:  # not installed, no driver, another process's container: NVML has an error for each
        return GpuMonitor()
