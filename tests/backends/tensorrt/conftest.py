"""NVIDIA's own Python bindings for TensorRT, loaded without TensorRT; and those of TensorRT-RTX, which is there.

The wheels ``tensorrt-cu13-bindings`` hold the bindings and their type information, not the libraries they are
linked with. Small libraries compiled here define the missing symbols, so that the bindings can be imported and
asked what they offer. Nothing of TensorRT can be called.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from backends.tensorrt.library import RTX

ROOT = Path(__file__).parents[3]
WHEELS = Path(os.environ.get("HWBENCH_TENSORRT_WHEELS", ROOT / ".venv" / "tensorrt"))
"""``make .venv/tensorrt`` fetches them."""
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)


@dataclass(frozen=True)
class Bindings:
    """Unpacked bindings of one major version, with stub libraries to load them.

    Args:
        folder: that holds them.
        version: how its number begins.
        module: the bindings' own.
        offered_as: the modules that offer them.
    """

    folder: Path
    version: str
    module: str = "tensorrt_bindings.tensorrt"
    offered_as: tuple[str, ...] = ("tensorrt",)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A Python command in a process that finds these bindings."""
        paths = {"PYTHONPATH": str(self.folder), "LD_LIBRARY_PATH": str(self.folder / "lib")}
        return subprocess.run(
            [sys.executable, *command],
            env={**os.environ, **paths, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def write_type_information(self, folder: Path) -> None:
        """``tensorrt/__init__.pyi``, or what they are offered as, in `folder`, from the signatures that the bindings'
        docstrings state."""
        made = folder / "made"
        generate = "from mypy.stubgen import main; main()"
        done = self.run("-c", generate, "--inspect-mode", "-q", "-m", self.module, "-o", str(made))
        assert done.returncode == 0, done.stderr
        text = (made / f"{self.module.replace('.', '/')}.pyi").read_text()
        for name in self.offered_as:
            (folder / name).mkdir()
            (folder / name / "__init__.pyi").write_text(readable(text))


def readable(stub: str) -> str:
    """A generated stub as a type checker can read it."""
    # The module has data types called bool, int8, ...: bool would hide Python's own in each signature.
    stub = re.sub(r"^bool: .*\n", "", stub, flags=re.MULTILINE)
    # One signature names a C++ class; without it the result would be of any type.
    assert stub.count("def get_error(") >= 1
    stub = re.sub(r"def get_error\(.*", "def get_error(self, index: int) -> ParserError: ...", stub)
    # So does one of TensorRT-RTX.
    cache = "def create_runtime_cache(self) -> IRuntimeCache: ..."
    stub = re.sub(r"def create_runtime_cache\(.*", cache, stub)
    stub = re.sub(
        r"def set_runtime_cache\(.*", "def set_runtime_cache(self, cache: IRuntimeCache) -> bool: ...", stub
    )
    # What C++ offers as a buffer has no sign of it in the docstring.
    stub = re.sub(
        r"^class IHostMemory:\n",
        "class IHostMemory:\n    def __buffer__(self, flags: int, /) -> memoryview: ...\n",
        stub,
        flags=re.MULTILINE,
    )
    return "__version__: str\n" + "\n".join(filter(_is_python, stub.splitlines())) + "\n"


def _is_python(line: str) -> bool:
    """False for the odd signature with a required argument after an optional one."""
    if not line.lstrip().startswith("def "):
        return True
    try:
        ast.parse(line.strip())
    except SyntaxError:
        return False
    return True


@pytest.fixture(scope="module", params=[10, 11, "rtx"], ids=["TensorRT-10", "TensorRT-11", "TensorRT-RTX"])
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bindings:
    """The bindings of each library; skips the test where the wheel or a C compiler is absent."""
    if request.param == "rtx":
        if not RTX.installed:
            pytest.skip("TensorRT-RTX is not installed: pip install 'hwbench[tensorrt]'")
        module = "tensorrt_rtx_bindings.tensorrt_rtx"
        # As TensorRT, too: one file of calls serves both.
        folder = tmp_path_factory.mktemp("bindings")
        return Bindings(folder, RTX.version, module, ("tensorrt", "tensorrt_rtx"))
    major, folder = request.param, tmp_path_factory.mktemp("bindings")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheels = sorted(WHEELS.glob(f"tensorrt_cu13_bindings-{major}.*-{tag}-*.whl"))
    compiler = shutil.which("cc")
    if not wheels or not compiler:
        pytest.skip("no wheel of tensorrt-cu13-bindings (make .venv/tensorrt), or no C compiler")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        wheel.extractall(folder)
    (folder / "tensorrt").symlink_to("tensorrt_bindings")
    library_folder = folder / "lib"
    library_folder.mkdir()
    source = library_folder / "stub.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS))
    for name in LIBRARIES:
        path = library_folder / f"lib{name}.so.{major}"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    return Bindings(folder, f"{major}.")
