"""The reference's latency is measured once, kept, travels with tables, and tells when the machine became another."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from backends.base import Settings, Target
from backends.machine.host import machine_id
from backends.measuring.pairing import Pacer
from backends.measuring.reference import (
    Reference,
    at_quietest,
    compare,
    keep,
    kept_path,
    known_reference,
)
from backends.onnxruntime_cpu import OnnxRuntimeBackend

TARGET = Target("none", "nowhere", details=(("timing", "paired 1"),))
KNOWN = Reference(0.2, 0.199, 0.202, 16.0, machine_id(), "2026-11-01T00:00:00+00:00")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def said() -> list[str]:
    return []


def test_it_is_what_the_machine_gives_at_its_quietest(simulated) -> None:
    device = simulated(slowdown=lambda now: 1.0 if (now % 1) < 0.3 else 1.4)
    found = at_quietest(device.pacer(0.2), 5.0)
    assert found.latency_ms == pytest.approx(0.2)
    assert found.low_ms <= found.latency_ms <= found.high_ms
    assert found.machine == machine_id()


def test_what_is_kept_is_known(said: list[str]) -> None:
    assert known_reference(TARGET, None, said.append) is None
    keep(TARGET, KNOWN, said.append)
    assert known_reference(TARGET, None, said.append) == KNOWN
    assert known_reference(replace(TARGET, threads=2), None, said.append) is None
    assert said == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not JSON"),
        ('{"format": "hwbench-ref', "not JSON"),
        ("[]", "not a reference"),
        ("{}", "not a reference"),
        ('{"latency_ms": -1}', "positive number"),
        ('{"latency_ms": "0.2"}', "positive number"),
        ('{"latency_ms": true}', "positive number"),
        ('{"surprise": 1}', "not a reference"),
        ('{"machine": "another"}', "of another machine"),
    ],
)
def test_a_file_that_is_of_no_use_is_said_and_measured_anew(content: str, says: str, said: list[str]) -> None:
    keep(TARGET, KNOWN, said.append)
    path = kept_path(TARGET)
    whole = json.loads(path.read_text())
    if content.startswith("{") and content.endswith("}") and content != "{}":
        content = json.dumps(whole | {"reference": whole["reference"] | json.loads(content)})
    path.write_text(content)
    assert known_reference(TARGET, None, said.append) is None
    (line,) = said
    assert says in line and str(path) in line and "measured anew" in line


def test_a_table_brings_its_own(said: list[str]) -> None:
    """It was lost here: the table's is used, and kept again. That of another machine's table is used, not kept."""
    elsewhere = replace(KNOWN, latency_ms=0.3, machine="another")
    assert known_reference(TARGET, elsewhere, said.append) == elsewhere
    assert not kept_path(TARGET).exists()
    assert known_reference(TARGET, KNOWN, said.append) == KNOWN
    assert kept_path(TARGET).exists()
    assert known_reference(TARGET, elsewhere, said.append) == elsewhere
    assert known_reference(TARGET, None, said.append) == KNOWN


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_said(home: Path, said: list[str]) -> None:
    home.chmod(0o500)
    keep(TARGET, KNOWN, said.append)
    home.chmod(0o700)
    assert len(said) == 1 and "cannot be kept" in said[0]


def test_a_home_that_is_no_folder_is_said(home: Path, said: list[str]) -> None:
    (home / "references").write_text("in the way")
    keep(TARGET, KNOWN, said.append)
    assert len(said) == 1 and "cannot be kept" in said[0]


@pytest.mark.parametrize(
    ("factor", "clock", "says"),
    [
        (1.0, 1.0, None),
        (0.98, 1.0, None),
        (1.1, 1.0, None),  # other work: any machine knows that
        (
            1.3,
            1.3,
            "30% slower than when its reference was measured (2026-11-01; 0.2 ms then, 0.26 ms now), and its",
        ),
        (1.3, 1.0, "though its clock is not"),
        (0.9, 0.9, "10% faster"),
        (0.9, 0.9, "come out too high by that"),
    ],
)
def test_another_machine_is_told(factor: float, clock: float, says: str | None, said: list[str]) -> None:
    now = replace(KNOWN, latency_ms=0.2 * factor, arithmetic_us=16.0 * clock)
    compare(TARGET, KNOWN, now, said.append)
    assert len(said) == (says is not None)
    assert says is None or says in said[0]


def test_a_backend_measures_it_once_and_then_in_the_milliseconds_of_a_table(said: list[str]) -> None:
    first = OnnxRuntimeBackend(Settings())
    reference = first.reference
    assert reference and 0 < reference["latency_ms"] < 50
    assert OnnxRuntimeBackend(Settings()).reference == reference
    doubled = OnnxRuntimeBackend(Settings())
    doubled.say = said.append  # type: ignore[method-assign]
    doubled.use_reference(reference | {"latency_ms": 2 * reference["latency_ms"]})
    assert doubled.beside.reference_ms == 2 * reference["latency_ms"]
    assert len(said) == 1 and "faster" in said[0]


def test_a_reading_is_warm_and_robust() -> None:
    from backends.machine.clocks import Reading

    given = iter([Reading(9.0)] * 4 + [Reading(9.0), Reading(1.0), Reading(5.0, clean=False), Reading(1.2)])
    pacer = Pacer(lambda repeats: next(given), runs=4)
    assert pacer.read() == 1.2
    given = iter(
        [Reading(9.0), Reading(3.0, clean=False), Reading(2.0, clean=False), Reading(4.0, clean=False)]
    )
    assert pacer.read() == 2.0
