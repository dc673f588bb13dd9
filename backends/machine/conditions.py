"""What about this host makes latencies vary from run to run, and what to do about it.

Read from the files that Linux keeps for it; where the system does not say, nothing is said.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
CPUS = "sys/devices/system/cpu"
BUSY = 0.25
"""Load per core from which other work is likely to share a core with what is measured."""


@dataclass(frozen=True)
class Condition:
    """One thing about the host.

    Args:
        name: what.
        value: how it is.
        advice: what to do about it before measuring; empty if it does no harm.
    """

    name: str
    value: str
    advice: str = ""


def conditions(root: Path = ROOT) -> list[Condition]:
    """All that the system says.

    Args:
        root: of the file system to read; another for tests.
    """
    found = (read(root) for read in READERS)
    return [condition for condition in found if condition]


def governor(root: Path) -> Condition | None:
    """What chooses the clock frequency."""
    names = sorted({_read(p) for p in root.glob(f"{CPUS}/cpu[0-9]*/cpufreq/scaling_governor")} - {""})
    if not names:
        return None
    calm = names == ["performance"]
    advice = "" if calm else "the clock follows the load: sudo cpupower frequency-set -g performance"
    return Condition("governor", ", ".join(names), advice)


def boost(root: Path) -> Condition | None:
    """Whether cores may run above their base clock for as long as they stay cool."""
    for path, on in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1")):
        file = root / CPUS / path
        if value := _read(file):
            off = "0" if on == "1" else "1"
            advice = f"the clock depends on the temperature: echo {off} | sudo tee {file}"
            return Condition("boost", "on", advice) if value == on else Condition("boost", "off")
    return None


def hyperthreads(root: Path) -> Condition | None:
    """Whether two hardware threads share a core."""
    active = _read(root / CPUS / "smt/active")
    if not active:
        return None
    advice = f"two threads share a core: echo off | sudo tee {root / CPUS / 'smt/control'}"
    return Condition("SMT", "on", advice) if active == "1" else Condition("SMT", "off")


def affinity(root: Path) -> Condition | None:
    """The cores this process may use; a trap where they are of several kinds."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    mine = sorted(os.sched_getaffinity(0))
    clocks = {_read(root / CPUS / f"cpu{i}/cpufreq/cpuinfo_max_freq") for i in mine} - {""}
    advice = "cores of several speeds: pin to one kind with taskset -c" if len(clocks) > 1 else ""
    return Condition("cores", f"{len(mine)} of {os.cpu_count()} may be used", advice)


def load(root: Path) -> Condition | None:
    """How many processes wanted to run during the last minute."""
    text = _read(root / "proc/loadavg").split()
    if not text:
        return None
    cores = os.cpu_count() or 1
    busy = float(text[0]) > BUSY * cores
    advice = "other work is running: wait for it, or stop it (top shows what)" if busy else ""
    return Condition("load", f"{text[0]} on {cores} cores", advice)


def quota(root: Path) -> Condition | None:
    """The processor time that a container may use."""
    limit, _, period = _read(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if not period or limit == "max":
        return None
    cores = int(limit) / int(period)
    return Condition(
        "quota", f"{cores:g} cores", "a container stopped at its quota stalls: give it whole cores (cpuset)"
    )


def hypervisor(root: Path) -> Condition | None:
    """Whether this is a virtual machine."""
    flags = next((line for line in _read(root / "proc/cpuinfo").splitlines() if line.startswith("flags")), "")
    if "hypervisor" not in flags.split():
        return None
    return Condition("virtual", "yes", "neighbours on the same hardware are not seen: repeat on another day")


def battery(root: Path) -> Condition | None:
    """Whether the machine runs on its battery."""
    online = {_read(path) for path in root.glob("sys/class/power_supply/*/online")} - {""}
    if not online:
        return None
    plugged = "1" in online
    return Condition("power", "mains" if plugged else "battery", "" if plugged else "plug it in")


def stolen_ticks(root: Path = ROOT) -> int | None:
    """Clock ticks, of all cores together since it started, in which this virtual machine wanted to run and its
    hypervisor ran another; None where the system does not say."""
    first, *_ = _read(root / "proc/stat").splitlines() or [""]
    fields = first.split()
    return int(fields[8]) if len(fields) > 8 and fields[0] == "cpu" else None


READERS: tuple[Callable[[Path], Condition | None], ...] = (
    governor,
    boost,
    hyperthreads,
    affinity,
    load,
    quota,
    hypervisor,
    battery,
)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
