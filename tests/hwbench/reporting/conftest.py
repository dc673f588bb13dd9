"""Three devices and three spaces, and one page of them for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import PROGRAM, Page, browser
from made_tables import NASTY, calibrate, make_table

from hwbench import report, shipped

READY = "document.documentElement?.dataset.ready === 'yes'"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables: the shipped one, ``slow.jsonl`` (both validated) and ``odd.jsonl`` (not)."""
    pytest.importorskip("jinja2", reason="Jinja2 is not installed: pip install 'hwbench[report]'")
    path = tmp_path_factory.mktemp("report")
    shutil.copy(shipped.reference_table("glyphs"), path / "epyc.jsonl")
    calibrate(path / "epyc.jsonl", noise=0.03)
    make_table(path / "slow.jsonl", "Slow core", lambda block: 6 + block.kernel)
    calibrate(path / "slow.jsonl")
    make_table(path / "odd.jsonl", NASTY, lambda block: 0.5 + 4 / block.in_shape[1])
    return path


@pytest.fixture(scope="session")
def written(folder: Path) -> Path:
    """The report of them."""
    out = folder / "report.html"
    luts = [str(folder / name) for name in ("epyc.jsonl", "slow.jsonl", "odd.jsonl")]
    spaces = ["compofa", "compofa-elastic", "ofa"]
    assert report.main(["--lut", *luts, "--space", *spaces, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def opened(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, float]]:
    """The report in a browser, and the seconds that opening it took, of three times
    the least: the machine may be busy."""
    if PROGRAM is None:
        pytest.skip("no chromium: apt install chromium")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        page.size(1200)
        yield page, min(page.open(written, READY) for _ in range(3))
