"""The documentation: it is built strictly, holds every command and public name, loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import hwbench
from hwbench.cli import COMMANDS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    if not (find_spec("material") and find_spec("mkdocstrings")):
        pytest.skip("mkdocs-material is not installed: pip install 'hwbench[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_command_is_in_the_site(site: Path) -> None:
    page = (site / "commands.html").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"usage: hwbench {command}" in page, command


def test_every_public_name_is_in_the_site(site: Path) -> None:
    page = (site / "python.html").read_text(encoding="utf-8")
    for name in hwbench.__all__:
        assert re.search(rf'<h2 id="[\w.]*\.{name}"', page), name


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"""<(?:script|link|img)[^>]*(?:src|href)=["']?(https?://[^"' >]+)""", text)
        assert not found, page.name


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert re.search(rf"(?:: |- ){page.name}$", menu, re.MULTILINE), page.name
