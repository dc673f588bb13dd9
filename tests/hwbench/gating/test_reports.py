"""Reports: a summary to glance at, XML that CI servers read, Markdown that GitHub shows."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from hwbench.gating import reports
from hwbench.gating.findings import FAIL, PASS, SKIP, Finding

FINDINGS = [
    Finding("drift", "phone", "calibrated", "none", "0.1 %", PASS),
    Finding("drift", "phone", "ridge", "3 % | <&>", "0.1 %", FAIL, 'moved "by" <3 %> & more'),
    Finding("drift", "server", "calibrated", "none", "0.1 %", PASS),
    Finding("accuracy", "phone", "calibrated: MAPE", "1.00 %", "at most 2.00 %", PASS),
    Finding("device", "phone", "noise", "12 %", "10 %", SKIP, "measure again"),
]


def test_a_row_for_each_check_of_each_target_shows_the_worst() -> None:
    assert reports.summary_rows(FINDINGS) == [
        ("drift", "phone", "ridge 3 % | <&>", "0.1 %", "FAIL"),
        ("drift", "server", "none", "0.1 %", "PASS"),
        ("accuracy", "phone", "calibrated: MAPE 1.00 %", "at most 2.00 %", "PASS"),
        ("device", "phone", "12 %", "10 %", "SKIP"),
    ]
    assert reports.failures(FINDINGS) == [
        'drift, phone: moved "by" <3 %> & more',
        "device, phone: measure again",
    ]
    assert reports.headline(FINDINGS) == "5 checks, 1 failed, 1 skipped"
    assert reports.headline(FINDINGS[:1]) == "1 checks, all passed"


def test_junit_has_the_elements_and_attributes_of_its_schema() -> None:
    root = ElementTree.fromstring(reports.junit(FINDINGS, {"numpy": "2"}, 1.5))
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    for element in (root, suite):
        assert {name: element.get(name) for name in ("tests", "failures", "errors")} == {
            "tests": "5",
            "failures": "1",
            "errors": "0",
        }
        assert float(element.get("time", "")) == 1.5
    assert suite.get("skipped") == "1"
    properties, *cases = suite
    assert [(p.tag, p.attrib) for p in properties] == [("property", {"name": "numpy", "value": "2"})]
    assert all(case.tag == "testcase" and set(case.attrib) == {"classname", "name", "time"} for case in cases)
    names = [(case.get("classname"), case.get("name")) for case in cases]
    assert len(set(names)) == len(FINDINGS)
    assert names[1] == ("hwbench.check.phone", "drift: ridge")
    (failure,) = root.iter("failure")
    assert failure.attrib == {"message": 'moved "by" <3 %> & more', "type": "drift"}
    assert failure.text == "3 % | <&>, limit 0.1 %"
    (skipped,) = root.iter("skipped")
    assert skipped.attrib == {"message": "measure again"}


def test_markdown_is_a_table_whose_cells_hold() -> None:
    lines = reports.markdown(FINDINGS).splitlines()
    assert lines[0] == "### hwbench check: 5 checks, 1 failed, 1 skipped"
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 4
    assert {line.replace("\\|", "").count("|") for line in table} == {6}
    assert lines[-1] == "- device, phone: measure again"


def test_the_step_summary_is_appended_where_github_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    monkeypatch.delenv(reports.STEP_SUMMARY, raising=False)
    reports.append_step_summary(FINDINGS)
    assert path.read_text() == "before\n"
    monkeypatch.setenv(reports.STEP_SUMMARY, str(path))
    reports.append_step_summary(FINDINGS)
    assert path.read_text() == "before\n" + reports.markdown(FINDINGS) + "\n"
