"""The README and the docs: their commands parse, their code runs, their pictures are there."""

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

from hwbench import shipped

ROOT = Path(__file__).parent.parent
FAMILIES = ROOT / "docs" / "families.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands():
    """(page, module, arguments) of each `python -m hwbench...` line."""
    for page in PAGES:
        for match in re.finditer(r"^    python -m (hwbench\.\w+)(.*)$", page.read_text(), re.MULTILINE):
            yield pytest.param(match[1], shlex.split(match[2]), id=f"{page.name}: {match[0].strip()}")


@pytest.mark.parametrize(("module", "arguments"), list(commands()))
def test_commands_parse(module, arguments, tmp_path, monkeypatch):
    (own,) = re.findall(
        r"```toml\n(classes = 10\nresolutions = \[32, 48\].*?)```", FAMILIES.read_text(), re.DOTALL
    )
    (tmp_path / "mine.toml").write_text(own)
    monkeypatch.chdir(tmp_path)
    importlib.import_module(module).parser().parse_args(arguments)


def test_scripts_named_in_the_docs_are_there():
    for page in PAGES:
        for script in re.findall(r"python (benchmarks/\w+\.py)", page.read_text()):
            assert (ROOT / script).is_file(), f"{page.name}: {script}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_python_examples_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "demo").mkdir()
    shutil.copy(shipped.reference_table("glyphs"), tmp_path / "demo" / "glyphs.jsonl")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert re.search(r"\d+ MACs\n[\d.]+ ms on .*onnxruntime", shown := capsys.readouterr().out)
    assert shown.count("latency_ms 0.") == 3 and (tmp_path / "frontiers.png").is_file()


def test_no_placeholder_is_left():
    for page in PAGES:
        assert not re.findall(r"@[A-Z_]+@", page.read_text()), page.name
