"""The tutorial, as it stands in the docs, from the first command to the last line of Python."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_tutorial_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "hwbench").mkdir()
    (tmp_path / "hwbench" / "artefacts").symlink_to(ROOT / "hwbench" / "artefacts")  # as in a clone
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    python -m (hwbench\.\w+)(.*)$", text, re.MULTILINE)
    assert len(commands) >= 6
    for module, arguments in commands:
        code = importlib.import_module(module).main(shlex.split(arguments))
        assert code == 0, (module, capsys.readouterr().err)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "tutorial.md", "exec"), {})
    right, said = re.findall(r"(\d+) of 20 read right; the card says (\d+) %", capsys.readouterr().out)[0]
    assert int(right) >= 10 and int(said) >= 55
