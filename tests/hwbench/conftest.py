"""One small table, measured once on this machine for all the tests of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from compofa.families import GLYPHS
from hwbench import build_lut


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished table of CompOFA on glyphs at the smallest resolution."""
    path = tmp_path_factory.mktemp("built") / "t.jsonl"
    smallest = str(min(GLYPHS.resolutions))
    assert build_lut.main(["--space", "compofa", "--resolutions", smallest, "--out", str(path)]) == 0
    return path


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy of that table, to be changed."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(built.read_bytes())
    return path
