"""Notebooks without Jupyter: run one from top to bottom, keep what it shows, make a page of it.

    python scripts/notebook.py docs/notebook.ipynb

runs it and writes what each cell shows into the file.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def run(cells: list[Cell]) -> None:
    """Run the code cells one after the other, as Jupyter would, and put what they show in the place of what stands
    there.

    Raises:
        Exception: whatever a cell raises.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in cells:
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
            cell["outputs"] = _outputs("".join(cell["source"]), names, count)


def _outputs(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"<cell {count}>", "exec"), names)
        if last is not None:
            value = eval(compile(last, f"<cell {count}>", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
    if value is not None:
        data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_png_"):
            data["image/png"] = base64.b64encode(value._repr_png_()).decode()
        shown = {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data}
        outputs.append(shown)
    return outputs


def texts(cells: list[Cell]) -> list[str]:
    """What each code cell shows, as text."""
    found = []
    for cell in cells:
        if cell["cell_type"] == "code":
            parts = [o.get("text") or o["data"]["text/plain"] for o in cell["outputs"]]
            found.append("".join("".join(part) for part in parts))
    return found


def page(cells: list[Cell], name: str) -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown, and the pictures that it refers to, by the names of their files."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                file = f"{name}-{len(pictures) + 1}.png"
                pictures[file] = base64.b64decode(data["image/png"])
                parts.append(f"![What the cell above draws]({file})")
            else:
                text = "".join(output.get("text") or data["text/plain"]).rstrip()
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n", pictures


def main(path: Path) -> None:
    """Run the notebook at `path` and write it back."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    run(notebook["cells"])
    path.write_text(
        json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
