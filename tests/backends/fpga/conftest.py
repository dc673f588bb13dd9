from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def zoo_csv(published: Callable[[str], Path]) -> Path:
    """The published throughput of the zoo on ZCU102."""
    return published("vitis_zoo_kv260_zcu102.csv")
