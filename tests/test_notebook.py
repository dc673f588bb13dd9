"""The notebook runs from top to bottom, and the file shows what it shows now."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch):
    """What runs notebooks."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import notebook

    yield notebook
    del sys.modules["notebook"]


def test_it_runs_and_shows_what_stands_there(notebook, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    cells = copy.deepcopy(NOTEBOOK["cells"])
    notebook.run(cells)
    for now, then in zip(notebook.texts(cells), notebook.texts(NOTEBOOK["cells"]), strict=True):
        assert now == then
    pictures = [o for cell in cells for o in cell.get("outputs", ()) if "image/png" in o.get("data", {})]
    assert len(pictures) == 1


def test_the_file_is_one_that_jupyter_opens() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w-]{1,64}", name) for name in ids)
    for cell in NOTEBOOK["cells"]:
        more = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | more


def test_a_page_is_made_of_it(notebook) -> None:
    text, pictures = notebook.page(NOTEBOOK["cells"], "notebook")
    assert list(pictures) == ["notebook-1.png"] and pictures["notebook-1.png"].startswith(b"\x89PNG")
    assert "![What the cell above draws](notebook-1.png)" in text
    assert text.count("```python") == sum(cell["cell_type"] == "code" for cell in NOTEBOOK["cells"])
