"""Machines without a driver, without a GPU, with a broken driver: each is told in its own words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.machine.cuda_probe import cuda_reason

ROOT = Path(__file__).parents[3]
LIBCUDA = """
int cuInit(unsigned f) {{ return {init}; }}
int cuDeviceGetCount(int *n) {{ *n = {count}; return 0; }}
int cuDeviceGet(int *d, int i) {{ *d = 0; return 0; }}
int cuDeviceGetName(char *s, int n, int d) {{ __builtin_strcpy(s, "NVIDIA Test"); return 0; }}
int cuGetErrorString(int e, const char **s) {{ *s = e == 803 ? "driver and library differ" : 0; return 0; }}
"""
Machine = Callable[..., dict[str, str]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """The environment of a machine whose driver answers so."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")

    def build(init: int = 0, count: int = 1, **environment: str) -> dict[str, str]:
        (tmp_path / "cuda.c").write_text(LIBCUDA.format(init=init, count=count))
        library = str(tmp_path / "libcuda.so.1")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, str(tmp_path / "cuda.c")], check=True)
        return {"LD_LIBRARY_PATH": str(tmp_path), **environment}

    return build


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    compiled = {name: os.environ[name] for name in ("PYTHONPYCACHEPREFIX",) if name in os.environ}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**compiled, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def reason(environment: dict[str, str]) -> str:
    code = "from backends.machine.cuda_probe import cuda_reason; print(cuda_reason())"
    done = run("-c", code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_driver() -> None:
    assert "no NVIDIA driver" in (cuda_reason("libno-such-driver.so") or "")


def test_a_driver_without_a_gpu(machine: Machine) -> None:
    assert reason(machine(count=0)).startswith("there is an NVIDIA driver, but no GPU; nvidia-smi")
    assert "but no GPU; nvidia-smi" in reason(machine(init=100))
    hidden = machine(init=100, CUDA_VISIBLE_DEVICES="")
    assert reason(hidden) == "there is an NVIDIA driver, but no GPU; CUDA_VISIBLE_DEVICES is ''"


def test_a_driver_that_does_not_start(machine: Machine) -> None:
    assert "driver and library differ (error 803)" in reason(machine(init=803))
    assert "error 999" in reason(machine(init=999))


def test_a_gpu(machine: Machine) -> None:
    environment = machine()
    assert reason(environment) == "None"
    name = run(
        "-c", "from backends.machine.cuda_probe import cuda_device_name as n; print(n())", **environment
    )
    assert name.stdout == "NVIDIA Test\n"


def build_lut(*arguments: str, **environment: str) -> tuple[int, str, float]:
    start = time.monotonic()
    done = run("-m", "hwbench.build_lut", *arguments, **environment)
    assert done.stdout == ""
    return done.returncode, done.stderr, time.monotonic() - start


@pytest.mark.parametrize(
    "arguments",
    [
        ("--backend", "tensorrt"),
        ("--backend", "torch", "--device", "cuda"),
        ("--backend", "onnxruntime", "--provider", "cuda"),
        ("--backend", "onnxruntime", "--provider", "tensorrt"),
        ("--backend", "onnxruntime", "--provider", "nv_tensorrt_rtx"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_command_without_a_driver_ends_at_once_with_3(arguments: tuple[str, ...]) -> None:
    if cuda_reason() is None:
        pytest.skip("there is a GPU here")
    code, says, _ = build_lut(*arguments)
    assert code == 3
    assert says.count("\n") == 1 and "install the driver" in says


def test_a_gpu_without_tensorrt_says_what_to_install(machine: Machine) -> None:
    code, says, _ = build_lut("--backend", "tensorrt", "--runtime", "tensorrt", **machine())
    assert code == 3 and says.count("\n") == 1
    # TensorRT-RTX may be there, which was not asked for.
    assert re.search(r"tensorrt(-rtx)? can(not)? be imported; install with: pip install ", says)


def test_a_tensorrt_that_crashes_takes_no_process_along(machine: Machine, tmp_path: Path) -> None:
    """Bindings without the library: the import fails, or the process dies."""
    package = tmp_path / "site" / "tensorrt"
    package.mkdir(parents=True)
    for body, says in (
        ("raise ImportError('libnvinfer.so.11: cannot open shared object file')", "libnvinfer.so.11"),
        ("import os; os.abort()", "its process ended with -6"),
    ):
        (package / "__init__.py").write_text(body)
        environment = machine(PYTHONPATH=str(package.parent))
        code, said, _ = build_lut("--backend", "tensorrt", **environment)
        assert code == 3
        assert "installed but cannot be loaded" in said and says in said


def test_a_gpu_without_a_torch_for_it(machine: Machine) -> None:
    torch = pytest.importorskip("torch")
    if torch.version.cuda:
        pytest.skip("this torch is built for CUDA")
    code, says, _ = build_lut("--backend", "torch", "--device", "cuda", **machine())
    assert code == 3
    assert "built for no CUDA, cannot use it; install a build of torch" in says
