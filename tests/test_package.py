"""The wheel, installed beside nothing of the repository, does what the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from hwbench.extras import EXTRAS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_citation_is_of_this_version():
    assert re.search(
        rf"^version: {PROJECT['project']['version']}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE
    )


def test_every_package_is_in_the_wheel():
    """A folder without an `__init__.py`, or a file that pyproject.toml does not name, works in a clone only."""
    setup = PROJECT["tool"]["setuptools"]
    rooms = [ROOT / room for room in ("hwbench", "lut", "backends", "compofa")]
    assert setup["packages"]["find"]["include"] == [f"{room.name}*" for room in rooms]
    for room in rooms:
        for path in room.rglob("*"):
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            if path.suffix == ".py":
                assert (path.parent / "__init__.py").exists(), path
                continue
            owner = next(p for p in path.parents if (p / "__init__.py").exists())
            patterns = setup["package-data"][".".join(owner.relative_to(ROOT).parts)]
            assert any(path.relative_to(owner).match(pattern) for pattern in patterns), path


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_folder(tmp_path):
    """In an environment of its own that sees this one's libraries; the release tries real installs."""
    pip = [sys.executable, "-m", "pip"]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    libraries = [
        path for path in {sysconfig.get_path("purelib"), *sys.path} if path.endswith("site-packages")
    ]
    (site / "libraries.pth").write_text("\n".join(libraries))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHON": str(python)}
    done = subprocess.run([ROOT / "scripts" / "try_package"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(home) in done.stdout and "all of it works" in done.stdout


HIDE = """
import importlib, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        hidden = name.partition(".")[0] in ("torch", "onnx", "onnxruntime")
        return None if hidden else self.finder.find_spec(name, *rest)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [Without(finder) for finder in sys.meta_path]
"""
BASE = """
import hwbench
table = hwbench.open_table(hwbench.reference_table())
network = hwbench.network("r24-k3e3_k3e3-k5e4_k5e4_k5e4-k3e3_k3e3-k3e6_k3e6_k3e6_k3e6-k5e3_k5e3")
assert 0.1 < table.latency_ms(network) < 0.2
assert hwbench.search(table, space="ofa", latency_ms=0.1).best[0].accuracy > 0.7
fronts = hwbench.pareto(table, spaces=["compofa"])
assert len(fronts.frontiers["compofa"]) > 10
fronts.draw("pareto.png")
code = importlib.import_module("hwbench.tables").main(["show", str(hwbench.reference_table())])
assert code == 0
"""


def in_a_base_install(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code where none of the libraries that come with extras can be found."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HWBENCH_HOME": str(folder)}
    command = [sys.executable, "-c", HIDE + code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_reading_predicting_searching_and_drawing_do_without_torch_and_onnxruntime(tmp_path):
    done = in_a_base_install(BASE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pareto.png").stat().st_size > 10_000


NEEDS = """
from hwbench import shipped
supernet = str(shipped.supernet("glyphs", "compofa"))
for line in ("train --recipe glyphs-teacher --out r", "train --recipe glyphs-teacher --out r --threads 1",
             f"evaluate --supernet {supernet} --sample 2 --out a.jsonl", "profile model.onnx",
             "build_lut --backend torch",
             f"specialize --supernet {supernet} --latency-ms 0.2 --out s", "build_lut --backend onnxruntime"):
    command, *arguments = line.split()
    assert importlib.import_module(f"hwbench.{command}").main(arguments) == 3, line
import hwbench
try:
    hwbench.train("glyphs-teacher", out="r")
except hwbench.Unavailable:
    print("unavailable")
"""


def test_what_needs_more_says_in_a_line_what_to_install(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    done = in_a_base_install(NEEDS, tmp_path)
    assert (done.returncode, done.stdout) == (0, "unavailable\n"), done.stderr
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(lines) == 7
    for line in lines:
        assert re.search(r"pip install 'hwbench\[(torch|onnxruntime)\]'$", line), line


def test_each_extra_that_is_named_is_there():
    extras = PROJECT["project"]["optional-dependencies"]
    for module, extra in EXTRAS.items():
        assert any(need.startswith(module) for need in extras[extra]), module
    light = " ".join(PROJECT["project"]["dependencies"])
    assert not re.search(r"\b(torch|onnx|onnxruntime|jinja2|pandas)\b", light)
    own = {"all", "dev", "docs", "cuda", "openvino", "tensorrt", "tvm"}
    assert set(extras["all"]) == {need for name, needs in extras.items() if name not in own for need in needs}
