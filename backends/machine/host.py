"""What machine this is: whatever about the host decides how fast a network runs on its processor."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from compofa.errors import InputError

CPUINFO = Path("/proc/cpuinfo")
MACHINE_ID = Path("/etc/machine-id")
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


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows do not say


def check_threads(threads: int) -> None:
    """Raise InputError if `threads` cannot run at the same time here."""
    if threads > (cores := usable_cores()):
        raise InputError(
            f"{threads} threads cannot run at once on the {cores} core{'s' * (cores > 1)} that this process may use "
            f"(taskset, container or machine): give --threads {cores} or fewer"
        )


def machine_id() -> str:
    """Tells this machine from others of its kind, and nothing else about it."""
    known = [_read(MACHINE_ID).strip(), cpu_name(), platform.machine(), str(os.cpu_count())]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]


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
