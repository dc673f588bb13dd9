from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("HWBENCH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small tensors do not gain from more, and tests may share the machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def published() -> Callable[[str], Path]:
    """Finds a file or folder of published measurements, which are not part of the project, by name; the test is
    skipped where they are absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"no {name} in {SHARED}: HWBENCH_SHARED_DATA names another folder")
        return path

    return find
