from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Before numpy is imported, here or in a process that a test starts: on a machine whose cores are all at work,
# threads of BLAS that wait for each other make minutes of seconds.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

if TYPE_CHECKING:
    from torch import Tensor

    from compofa.supernet import Supernet

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


@pytest.fixture(scope="session")
def published_names() -> Callable[[Supernet], dict[str, Tensor]]:
    """Gives a supernet's state under the reference implementation's names, written out from its module tree."""
    return _published_names


def _published_names(net: Supernet) -> dict[str, Tensor]:
    names = {}
    for name, tensor in net.state_dict().items():
        part, *path = name.split(".")
        tail = ".".join(path)
        if part == "units":
            number = 1 + 4 * int(path[0]) + int(path[1])
            rest = ".".join(path[2:])
            for ours, theirs in (
                ("expand.conv.weight", "inverted_bottleneck.conv.conv.weight"),
                ("expand.bn", "inverted_bottleneck.bn.bn"),
                ("depthwise.conv.weight", "depth_conv.conv.conv.weight"),
                ("depthwise.matrices.5", "depth_conv.conv.7to5_matrix"),
                ("depthwise.matrices.3", "depth_conv.conv.5to3_matrix"),
                ("depthwise.bn", "depth_conv.bn.bn"),
                ("se.", "depth_conv.se.fc."),
                ("project.conv.weight", "point_linear.conv.conv.weight"),
                ("project.bn", "point_linear.bn.bn"),
            ):
                if rest.startswith(ours):
                    names[f"blocks.{number}.mobile_inverted_conv.{rest.replace(ours, theirs, 1)}"] = tensor
        elif part == "head":
            first = tail.replace("1.depthwise", "depth_conv").replace("1.project", "point_linear")
            names[f"first_conv{tail[1:]}" if path[0] == "0" else f"blocks.0.mobile_inverted_conv.{first}"] = (
                tensor
            )
        else:
            layer = {"0": "final_expand_layer", "2": "feature_mix_layer", "3": "classifier"}[path[0]]
            names[f"{layer}{tail[1:]}"] = tensor
    return names
