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


WITHOUT_TORCH = """
from hwbench import pareto, report, search, shipped
table = str(shipped.reference_table("glyphs"))
assert search.main(["--space", "ofa", "--lut", table, "--latency-ms", "0.1"]) == 0
assert pareto.main(["--space", "compofa", "--lut", table, "--out", "pareto.png"]) == 0
assert report.main(["--lut", table, "--space", "compofa", "--out", "report.html"]) == 0
"""


@pytest.mark.slow
def test_reading_searching_and_drawing_do_without_torch(tmp_path):
    (tmp_path / "before" / "torch").mkdir(parents=True)
    (tmp_path / "before" / "torch" / "__init__.py").write_text("raise ImportError('there is no torch here')")
    first = os.pathsep.join([str(tmp_path / "before"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": first, "HWBENCH_HOME": str(tmp_path)}
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
