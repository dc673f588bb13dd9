"""Counters of the energy that a device has used: NVML's of a GPU, RAPL's of a processor's packages.

NVML's (``nvmlDeviceGetTotalEnergyConsumption``, Volta and later) moves in steps, some dozens a second; RAPL's (the
kernel's powercap tree) about a thousand times, and only root may read it on most systems. Both count all that the
device uses, whoever uses it, and while it only waits, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from compofa.errors import Unavailable

POWERCAP = Path("/sys/class/powercap")


class Counter(Protocol):
    """What has been used since some moment."""

    def read_mj(self) -> float:
        """In millijoules."""


# --- a GPU ---


@dataclass(frozen=True)
class NvmlCounter:
    """The counter of one GPU.

    Args:
        nvml: the module ``pynvml``, initialised.
        handle: NVML's, of the GPU.
    """

    nvml: Any
    handle: Any

    def read_mj(self) -> float:
        """In millijoules, since the driver was loaded."""
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))


def open_nvml(uuid: str) -> NvmlCounter:
    """The counter of the GPU with CUDA's `uuid`.

    Raises:
        Unavailable: NVML is not there, or does not count this GPU's energy; says why.
    """
    try:
        import pynvml
    except ImportError:
        raise Unavailable("energy is read by NVML; install with: pip install nvidia-ml-py") from None
    try:
        pynvml.nvmlInit()
        counter = NvmlCounter(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}"))
        counter.read_mj()
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML tells no energy of GPU {uuid}: {error}") from error
    return counter


# --- a processor ---


@dataclass
class _Package:
    """One package's counter, which starts again from 0 after `range_uj` microjoules."""

    file: Path
    range_uj: int
    last_uj: int
    used_uj: int = 0

    def read_uj(self) -> int:
        now_uj = int(self.file.read_text("utf-8"))
        self.used_uj += (now_uj - self.last_uj) % (self.range_uj + 1)
        self.last_uj = now_uj
        return self.used_uj


@dataclass
class RaplCounter:
    """The counters of all packages of this machine, together.

    Args:
        packages: folders of the powercap tree.

    Raises:
        OSError: one cannot be read.
    """

    packages: Sequence[Path]
    _counted: list[_Package] = field(init=False)

    def __post_init__(self) -> None:
        self._counted = [
            _Package(
                folder / "energy_uj",
                int((folder / "max_energy_range_uj").read_text("utf-8")),
                int((folder / "energy_uj").read_text("utf-8")),
            )
            for folder in self.packages
        ]

    def read_mj(self) -> float:
        """In millijoules, since it was opened; to be read more often than a counter starts again (minutes)."""
        return sum(package.read_uj() for package in self._counted) / 1e3


def open_rapl(root: Path = POWERCAP) -> RaplCounter:
    """The counter of this machine's processors.

    Raises:
        Unavailable: there is none, or this user may not read it; says what to do.
    """
    packages = [
        folder
        for folder in sorted(root.glob("intel-rapl:*"))
        if folder.name.count(":") == 1 and (folder / "energy_uj").exists()
    ]
    if not packages:
        raise Unavailable(f"this machine tells no energy of its processor: there is no RAPL below {root}")
    try:
        return RaplCounter(packages)
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"the processor's energy cannot be read ({error}); let this user read it: "
            f"sudo chmod a+r {root}/intel-rapl:*/energy_uj"
        ) from error
