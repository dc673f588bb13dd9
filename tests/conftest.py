from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs TVM where it is not, saying so."""
    for item in items:
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
