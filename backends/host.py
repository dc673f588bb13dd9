"""What machine this is: whatever about the host decides how fast a network runs on its processor."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True)
class Host:
    """A fingerprint of the host.

    Args:
        cpu: the processor's name, as it calls itself.
        machine: instruction set, such as ``x86_64``.
        cores: logical cores of the machine.
        affinity: those this process may use; empty where the system does not say.
        governor: of the clock frequency; None where the system does not say, as in most virtual machines.
        system: operating system and release.
        python: version.
        packages: (name, version), sorted.
    """

    cpu: str
    machine: str
    cores: int
    affinity: tuple[int, ...]
    governor: str | None
    system: str
    python: str
    packages: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return {**asdict(self), "affinity": list(self.affinity), "packages": dict(self.packages)}


def fingerprint(packages: Sequence[str] = ("numpy",)) -> Host:
    """The machine this runs on, with the versions of those `packages` that are installed."""
    return Host(
        cpu=cpu_name(),
        machine=platform.machine(),
        cores=os.cpu_count() or 1,
        affinity=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (),
        governor=_read(GOVERNOR).strip() or None,
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        python=platform.python_version(),
        packages=package_versions(packages),
    )


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name; its instruction set where it has none."""
    for line in _read(cpuinfo).splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown CPU"


def package_versions(packages: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(name, version) of those `packages` that are installed, sorted."""
    found = []
    for name in sorted(packages):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
