from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("HWBENCH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs TVM or TensorRT-RTX where it is not, saying so."""
    for item in items:
        if "needs_rtx" in item.keywords and find_spec("tensorrt_rtx") is None:
            why = (
                "TensorRT-RTX is not installed: pip install 'hwbench[tensorrt]' (Linux and Windows on x86-64)"
            )
            item.add_marker(pytest.mark.skip(reason=why))
        if "needs_tvm" in item.keywords:
            if find_spec("tvm") is None:
                item.add_marker(pytest.mark.skip(reason="TVM is not installed: pip install 'hwbench[tvm]'"))
            elif shutil.which("g++") is None:
                item.add_marker(pytest.mark.skip(reason="no g++: apt install g++"))


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
