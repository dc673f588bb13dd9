"""Arguments that would have no effect are refused: whoever gave them would believe that they had."""

from __future__ import annotations

from collections.abc import Mapping

from compofa.errors import InputError


def refuse_idle(given: Mapping[str, object], why: str) -> None:
    """Raise InputError, `why` behind the name of the first, if any of the arguments `given`, by name, is not None."""
    if idle := next((name for name, value in given.items() if value is not None), None):
        raise InputError(f"{idle} {why}")
