"""What mkdocs asks while it builds the site: pages that are written from the code, and links that leave the docs."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from notebook import page as notebook_page  # noqa: E402  # mkdocs forgets the path once this module is loaded

NOTEBOOKS = ("notebook",)
"""Names of the notebooks in ``docs``, each of which becomes a page."""


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """The files of the site, with a page of each notebook and the pictures in it."""
    from mkdocs.structure.files import File

    for name in NOTEBOOKS:
        text = (ROOT / "docs" / f"{name}.ipynb").read_text(encoding="utf-8")
        markdown, pictures = notebook_page(json.loads(text)["cells"], name)
        files.append(File.generated(config, f"{name}.md", content=markdown))
        for file, content in pictures.items():
            files.append(File.generated(config, file, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text of a page, completed."""
    text = (
        markdown.replace("<!-- commands -->", commands()) if page.file.src_uri == "commands.md" else markdown
    )
    if page.file.src_uri == "python.md":
        text = text.replace("<!-- python -->", python())
    for name in NOTEBOOKS:
        text = text.replace(f"({name}.ipynb)", f"({name}.md)")
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2` in the repository)", text)


def commands() -> str:
    """The help of each command."""
    from hwbench.cli import COMMANDS

    found = []
    for name, what in COMMANDS.items():
        shown = importlib.import_module(f"hwbench.{name}").parser().format_help()
        found.append(f"## {name}\n{what[0].upper()}{what[1:]}.\n\n```text\n{shown.strip()}\n```")
    return "\n\n".join(found)


def python() -> str:
    """A place for each public name, which mkdocstrings fills from its docstring."""
    import hwbench

    options = (
        "    options:\n      heading_level: 2\n      show_root_heading: true\n      show_source: false\n"
    )
    return "\n\n".join(f"::: {where(name)}\n{options}" for name in hwbench.__all__)


def where(name: str) -> str:
    """The full path of a public name."""
    import hwbench

    found = getattr(hwbench, name)
    return f"{found.__module__}.{found.__qualname__}"
