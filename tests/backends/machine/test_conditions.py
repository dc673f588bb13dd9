"""What a host says of itself becomes advice, and silence where it says nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.machine import conditions
from backends.machine.conditions import CPUS, Condition


def put(root: Path, path: str, content: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content + "\n")
    return root


def test_a_host_that_says_nothing(tmp_path: Path) -> None:
    assert [c.name for c in conditions.conditions(tmp_path)] == ["cores"]
    assert conditions.stolen_ticks(tmp_path) is None


@pytest.mark.parametrize(
    ("names", "value", "warns"),
    [
        (["performance", "performance"], "performance", False),
        (["powersave"], "powersave", True),
        (["performance", "schedutil"], "performance, schedutil", True),
    ],
)
def test_governor(tmp_path: Path, names: list[str], value: str, warns: bool) -> None:
    for i, name in enumerate(names):
        put(tmp_path, f"{CPUS}/cpu{i}/cpufreq/scaling_governor", name)
    found = conditions.governor(tmp_path)
    assert found is not None
    assert (found.value, bool(found.advice)) == (value, warns)


@pytest.mark.parametrize(
    ("path", "content", "value", "advice"),
    [
        ("intel_pstate/no_turbo", "0", "on", "echo 1"),
        ("intel_pstate/no_turbo", "1", "off", ""),
        ("cpufreq/boost", "1", "on", "echo 0"),
        ("cpufreq/boost", "0", "off", ""),
    ],
)
def test_boost(tmp_path: Path, path: str, content: str, value: str, advice: str) -> None:
    found = conditions.boost(put(tmp_path, f"{CPUS}/{path}", content))
    assert found is not None
    assert found.value == value
    assert advice in found.advice and bool(found.advice) == bool(advice)


def test_hyperthreads_quota_hypervisor_and_battery(tmp_path: Path) -> None:
    put(tmp_path, f"{CPUS}/smt/active", "1")
    put(tmp_path, "sys/fs/cgroup/cpu.max", "150000 100000")
    put(tmp_path, "proc/cpuinfo", "processor: 0\nflags : fpu hypervisor sse2")
    put(tmp_path, "sys/class/power_supply/AC/online", "0")
    found = {c.name: c for c in conditions.conditions(tmp_path)}
    assert all(found[name].advice for name in ("SMT", "quota", "virtual", "power"))
    assert found["quota"].value == "1.5 cores"
    put(tmp_path, f"{CPUS}/smt/active", "0")
    put(tmp_path, "sys/fs/cgroup/cpu.max", "max 100000")
    put(tmp_path, "proc/cpuinfo", "flags : fpu sse2")
    put(tmp_path, "sys/class/power_supply/AC/online", "1")
    assert not any(c.advice for c in conditions.conditions(tmp_path))


def test_load_is_judged_by_the_number_of_cores(tmp_path: Path) -> None:
    cores = os.cpu_count() or 1
    calm = conditions.load(put(tmp_path, "proc/loadavg", f"{0.1 * cores:.2f} 9 9 1/2 3"))
    busy = conditions.load(put(tmp_path, "proc/loadavg", f"{0.5 * cores:.2f} 0 0 1/2 3"))
    assert calm and not calm.advice
    assert busy and "other work is running" in busy.advice


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_cores_of_several_speeds_are_a_trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    put(tmp_path, f"{CPUS}/cpu0/cpufreq/cpuinfo_max_freq", "1800000")
    put(tmp_path, f"{CPUS}/cpu1/cpufreq/cpuinfo_max_freq", "2400000")
    found = conditions.affinity(tmp_path)
    assert found and "taskset" in found.advice
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    assert conditions.affinity(tmp_path) == Condition("cores", f"1 of {os.cpu_count()} may be used")


def test_stolen_time(tmp_path: Path) -> None:
    put(tmp_path, "proc/stat", "cpu  10 0 20 300 4 0 5 678 0 0\ncpu0 1 2 3")
    assert conditions.stolen_ticks(tmp_path) == 678
    put(tmp_path, "proc/stat", "nonsense")
    assert conditions.stolen_ticks(tmp_path) is None
