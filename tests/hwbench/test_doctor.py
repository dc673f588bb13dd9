"""The doctor says what there is and why not, and its exit code whether to measure here."""

from __future__ import annotations

import json

import numpy as np
import pytest
from commands import doctor

from backends import registry
from backends.measuring import steadiness
from backends.measuring.steadiness import Steadiness


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Steadiness(np.tile([1.0, 1.5], 50), np.ones(10), 0.1)
    monkeypatch.setattr(steadiness, "observe", lambda seconds: found)


def test_it_looks_at_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    code = doctor.main(["--seconds", "1", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == (0 if document["fit"] else 1)
    assert document["backends"]["onnxruntime"] is None
    assert "onnxruntime" in document["can_measure"] and "fpga" not in document["can_measure"]
    assert document["host"]["packages"]["onnxruntime"]
    assert document["repeatability"]["readings"] >= 10
    assert {c["name"] for c in document["conditions"]} >= {"cores"}


def test_people_see_what_to_do(steady: None, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    reasons = {"fpga": None, "onnxruntime": None, "tensorrt": "install with: pip install tensorrt"}
    monkeypatch.setattr(registry, "available", lambda: reasons)
    assert doctor.main([]) == 0
    shown = capsys.readouterr().out
    assert "backend   ! tensorrt                 install with: pip install tensorrt" in shown
    assert "backend     onnxruntime              can run" in shown
    assert "by itself its time spreads by 40.0 %" in shown  # and pairing makes up for it
    assert shown.endswith("\nfit to measure on\n")


def test_a_jumping_machine_is_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jumping = Steadiness(np.ones(100), np.repeat([1.0, 1.2], 5), 0.5)
    monkeypatch.setattr(steadiness, "observe", lambda seconds: jumping)
    assert doctor.main([]) == 1
    shown = capsys.readouterr().out
    assert "paired    ! beside a reference, as hwbench measures, it drifts by 9.1 % (limit 2 %; 50 %" in shown
    assert shown.endswith("not fit to measure on: see the lines marked !\n")


def test_a_model_alone_does_not_measure(steady: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "available", lambda: {"fpga": None, "onnxruntime": "not installed"})
    assert doctor.main(["--json"]) == 1


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--seconds", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
