"""The project's smallest golden set, by itself: real measurements, to be changed by tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hwbench.gating import models
from hwbench.gating.golden import MANIFEST, GoldenSet, load, read_manifest

SHIPPED = Path(__file__).parents[2] / "golden"
NAME = "imagenet-w1.2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the set, with its baseline."""
    copy = tmp_path / "golden"
    copy.mkdir()
    for path in SHIPPED.glob(f"{NAME}.*"):
        shutil.copy(path, copy)
    shutil.copy(SHIPPED / "baseline.json", copy)
    manifest = json.loads((SHIPPED / MANIFEST).read_text())
    manifest["sets"] = {NAME: manifest["sets"][NAME]}
    (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy


@pytest.fixture(scope="session")
def golden() -> GoldenSet:
    """The set, read."""
    return load(SHIPPED, read_manifest(SHIPPED)[NAME])


@pytest.fixture
def calibrated_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the learned models, which take a second and are not what is tested."""
    for name in set(models.MODELS) - {"calibrated"}:
        monkeypatch.delitem(models.MODELS, name)
