from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def zoo_csv() -> Path:
    """The published throughput of the zoo on ZCU102, which is not part of the project."""
    folder = Path(os.environ.get("HWBENCH_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
    path = folder / "vitis_zoo_kv260_zcu102.csv"
    if not path.is_file():
        pytest.skip(f"no {path.name} in the folder that HWBENCH_SHARED_DATA names")
    return path
