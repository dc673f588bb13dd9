"""What mkdocs asks while it builds the site: pages that are written from the code, and links that leave the docs."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text of a page, completed."""
    text = (
        markdown.replace("<!-- commands -->", commands()) if page.file.src_uri == "commands.md" else markdown
    )
    if page.file.src_uri == "python.md":
        text = text.replace("<!-- python -->", python())
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
