"""Hashes: of a document inside it, which tells whether it was changed, and of a file, which tells it from others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from compofa.errors import InputError

SEAL = "sha256"


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """`content` with the hash of itself, for :func:`check_seal`."""
    return {**content, SEAL: _hash(content)}


def check_seal(content: dict[str, Any]) -> None:
    """Raise InputError if `content` is not what was :func:`sealed`; what has no seal, as files of version 0.1.0, may be
    anything."""
    if SEAL in content and content[SEAL] != _hash({k: v for k, v in content.items() if k != SEAL}):
        raise InputError(
            f"damaged, or edited by hand: its {SEAL} differs (restore it; after an edit that is meant, delete the "
            f"line {SEAL})"
        )


def _hash(content: dict[str, Any]) -> str:
    """Of the canonical JSON: keys sorted, no blanks."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Of the file at `path`, of whatever size; hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
