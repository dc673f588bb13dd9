"""What a check found, and the exit code that findings stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

CODES = {"drift": 10, "accuracy": 11, "device": 12, "coverage": 13, "data": 14}
"""Check -> exit code when it fails. The larger, the more fundamental: of several that fail the largest is
returned, for what is below it may be a consequence."""

MEANINGS = {
    "drift": "a prediction is not the baseline's",
    "accuracy": "a model predicts worse than the baseline, beyond chance, margin and floor",
    "device": "fresh measurements contradict the frozen ones",
    "coverage": "blocks or subnets have no answer",
    "data": "a golden file, the baseline or the file of --measured is missing, broken, changed or too small",
}

PASS, FAIL, SKIP = "pass", "fail", "skip"


@dataclass(frozen=True)
class Finding:
    """One check of one thing.

    Args:
        check: of :data:`CODES`.
        target: the golden set, that is the target, that was checked.
        what: the model, and the score if there are several.
        value: what was found, for people.
        limit: what it is held to, for people.
        verdict: ``pass``, ``fail``, or ``skip`` where nothing could be said.
        advice: what to do; empty if it passed.
        numbers: the same for programs.
    """

    check: str
    target: str
    what: str
    value: str
    limit: str
    verdict: str
    advice: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return asdict(self)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 if nothing failed, else the largest of the :data:`CODES` of what did."""
    return max((CODES[f.check] for f in findings if f.verdict == FAIL), default=0)


def worst(findings: Iterable[Finding]) -> Finding:
    """The first that failed, else the first that was skipped, else the first."""
    return min(findings, key=lambda f: (FAIL, SKIP, PASS).index(f.verdict))
