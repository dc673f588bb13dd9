"""What the whole package promises: imports go down only, what is shipped is small."""

import ast
import sys
from itertools import chain
from pathlib import Path

import pytest

from hwbench.cli import COMMANDS

ROOT = Path(__file__).parent.parent
ROOMS = ("hwbench", "lut", "backends", "compofa")


def imported(path):
    """Top-level packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down_only(room):
    above = set(ROOMS[: ROOMS.index(room)])
    modules = list((ROOT / room).rglob("*.py"))
    assert modules
    for path in modules:
        assert not above & set(imported(path)), path


@pytest.mark.parametrize(
    "module",
    [
        "blocks/block",
        "blocks/kinds",
        "blocks/operations",
        "spaces/family",
        "spaces/arch",
        "spaces/making",
        "errors",
    ],
)
def test_what_a_network_is_needs_the_standard_library_only(module):
    allowed = {*sys.stdlib_module_names, "compofa"}
    assert set(imported(ROOT / "compofa" / f"{module}.py")) <= allowed


def test_every_command_is_in_the_readme():
    text = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert f"hwbench.{command}" in text, command


def test_every_installed_version_is_pinned():
    """What the project itself asks for stands in the constraints file."""
    import re
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {re.split(r"[<>=\[]", name)[0].lower() for name in wanted} <= pinned


def test_the_package_is_under_10_mb():
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 10e6


TEXT_METHODS = {"read_text": 0, "write_text": 1}
"""Methods that read or write text -> arguments before the encoding."""


def without_encoding(path):
    """Lines of a module that open text without saying how it is encoded: then the locale says it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or any(k.arg in ("encoding", None) for k in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if name in TEXT_METHODS and len(node.args) <= TEXT_METHODS[name] and owner != "files":
            yield node.lineno
        opens = name == "open" and owner not in ("os", "Image")
        if opens and (len(node.args) < 2 or texts) and not any("b" in t for t in texts if len(t) < 4):
            yield node.lineno


@pytest.mark.parametrize("room", ROOMS)
def test_text_is_utf_8_wherever_it_is_read_or_written(room):
    found = [f"{path}:{line}" for path in (ROOT / room).rglob("*.py") for line in without_encoding(path)]
    assert not found
