"""What a run says of itself while it trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from compofa.training.state import Log

Entry = dict[str, Any]
"""Of the log: stage, step and images read; then learning rate, loss and cost of a step, or what was validated."""


class Recorder(Log):
    """The log of a run, which somebody follows.

    Args:
        folder, images: see :class:`Log`.
        on_log: called with each entry.
    """

    def __init__(self, folder: Path, images: int, on_log: Callable[[Entry], None]) -> None:
        super().__init__(folder, images)
        self.on_log = on_log

    def write(self, entry: Entry) -> None:
        super().write(entry)
        self.on_log(entry)

    def write_validated(self, step: Entry, found: Entry) -> None:
        """Add what a validation after that step found."""
        self.write({**{name: step[name] for name in ("stage", "step", "images")}, **found})
