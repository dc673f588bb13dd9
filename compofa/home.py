"""Where hwbench keeps what it makes: tables, rendered images, checkpoints."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """``$HWBENCH_HOME``, or ``hwbench`` in the user's cache folder. Not created here."""
    if folder := os.environ.get("HWBENCH_HOME"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwbench"
