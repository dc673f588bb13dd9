"""Findings for people, for CI servers (JUnit) and for GitHub's summary of a job."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from hwbench.gating.findings import FAIL, SKIP, Finding, worst

COLUMNS = ("check", "target", "value", "limit", "verdict")
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable in which GitHub Actions gives the file for a step's summary."""


def summary_rows(findings: Sequence[Finding]) -> list[tuple[str, ...]]:
    """One row for each check of each target, under :data:`COLUMNS`: the worst of its findings."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.check, finding.target), []).append(finding)
    return [_row(worst(group), len(group)) for group in groups.values()]


def _row(finding: Finding, count: int) -> tuple[str, ...]:
    value = finding.value
    if finding.check == "accuracy" or (count > 1 and finding.verdict == FAIL):
        value = f"{finding.what} {value}"
    return finding.check, finding.target, value, finding.limit, finding.verdict.upper()


def failures(findings: Sequence[Finding]) -> list[str]:
    """A line for each finding that failed or could say nothing: what to do."""
    return [f"{f.check}, {f.target}: {f.advice}" for f in findings if f.verdict in (FAIL, SKIP)]


def headline(findings: Sequence[Finding]) -> str:
    """How many checks there were and how they ended."""
    count = Counter(f.verdict for f in findings)
    parts = [f"{len(findings)} checks"]
    parts += [f"{count[v]} {word}" for v, word in ((FAIL, "failed"), (SKIP, "skipped")) if count[v]]
    return ", ".join(parts) if len(parts) > 1 else f"{parts[0]}, all passed"


# --- JUnit ---


def junit(findings: Sequence[Finding], properties: dict[str, str], seconds: float) -> bytes:
    """The findings as JUnit's XML, in the subset that Jenkins, GitLab and GitHub's reporters read.

    Args:
        findings: a test case each.
        properties: of the run, such as versions.
        seconds: that it took.
    """
    count = Counter(f.verdict for f in findings)
    totals = {
        "name": "hwbench.check",
        "tests": str(len(findings)),
        "failures": str(count[FAIL]),
        "errors": "0",
        "time": f"{seconds:.3f}",
    }
    root = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(root, "testsuite", {**totals, "skipped": str(count[SKIP])})
    listed = ElementTree.SubElement(suite, "properties")
    for name, value in properties.items():
        ElementTree.SubElement(listed, "property", {"name": name, "value": value})
    for finding in findings:
        _test_case(suite, finding)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _test_case(suite: ElementTree.Element, finding: Finding) -> None:
    names = {
        "classname": f"hwbench.check.{finding.target}",
        "name": f"{finding.check}: {finding.what}",
        "time": "0",
    }
    case = ElementTree.SubElement(suite, "testcase", names)
    if finding.verdict == FAIL:
        failure = ElementTree.SubElement(case, "failure", {"message": finding.advice, "type": finding.check})
        failure.text = f"{finding.value}, limit {finding.limit}"
    elif finding.verdict == SKIP:
        ElementTree.SubElement(case, "skipped", {"message": finding.advice})


# --- GitHub ---


def markdown(findings: Sequence[Finding]) -> str:
    """The summary as GitHub's Markdown."""
    lines = [f"### hwbench check: {headline(findings)}", ""]
    lines += [_cells(COLUMNS), _cells(["---"] * len(COLUMNS))]
    lines += [_cells(row) for row in summary_rows(findings)]
    lines += ["", *(f"- {line}" for line in failures(findings))]
    return "\n".join(lines).rstrip() + "\n"


def _cells(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def append_step_summary(findings: Sequence[Finding]) -> None:
    """Append the summary to the file that GitHub Actions names, if it names one.

    Raises:
        OSError: it cannot be written.
    """
    if path := os.environ.get(STEP_SUMMARY):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown(findings) + "\n")
