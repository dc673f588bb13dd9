"""Where tables live unless a file is named."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from backends.base import Target
from compofa.home import home

LONGEST_NAME = 200
"""Characters of a file's name before its hash: file systems take 255 in all."""


def tables_folder() -> Path:
    """Where tables are kept unless a file is named: ``tables`` in :func:`compofa.home.home`, which is
    ``$HWBENCH_HOME`` or ``~/.cache/hwbench``."""
    return home() / "tables"


def default_path(target: Target, family: str, options: Mapping[str, str] | None = None) -> Path:
    """The default file of a table: one for each family and target.

    Args:
        target: any two that differ have files of their own, by the hash at the name's end.
        family: whose blocks.
        options: settings that tell people what is special about the target; part of the name, too.
    """
    parts = [family, target.backend, _slug(target.device), target.precision]
    parts += [f"b{target.batch}", f"t{target.threads}"]
    parts += [_slug(f"{name}-{value}") for name, value in sorted((options or {}).items())]
    digest = hashlib.sha256(json.dumps(target.to_dict(), sort_keys=True).encode()).hexdigest()[:8]
    return tables_folder() / f"{'-'.join(parts)[:LONGEST_NAME]}-{digest}.jsonl"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
