"""Published measurements that the benchmarks compare with and the project does not ship."""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(os.environ.get("HWBENCH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""The folder that HWBENCH_SHARED_DATA names, or ``../shared/data`` beside the project."""
