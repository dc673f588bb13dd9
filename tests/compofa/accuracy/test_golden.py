"""Files of version 0.1.0 give the numbers that they gave then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compofa.accuracy import Accuracies
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.spaces.arch import extreme
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import shipped

EVERY_100TH = [
    0.5851416, 0.6129761, 0.6425518, 0.7112594, 0.7352072, 0.7473024, 0.7580827, 0.7764521, 0.7786396, 0.767765,
    0.7312883, 0.7488675, 0.7694921,
]  # fmt: skip
EXTREMES = [
    0.5729682, 0.6887211, 0.7275852, 0.7338539, 0.6889456, 0.6430938, 0.7565887, 0.7967954, 0.811296, 0.8143166,
]  # fmt: skip
"""The smallest subnet at each resolution, then the largest."""


OLD = Path(__file__).parents[2] / "golden" / "glyphs-ofa-0.1.0.predictor.safetensors"


def test_the_predictor_of_the_first_version() -> None:
    predictor = AccuracyPredictor.load(OLD)
    some = encode(GLYPHS, list(get_space("compofa", GLYPHS).enumerate()))[::100]
    np.testing.assert_allclose(predictor.predict(some), EVERY_100TH, atol=2e-7)
    ends = [
        extreme(GLYPHS, largest=large, resolution=r) for large in (False, True) for r in GLYPHS.resolutions
    ]
    np.testing.assert_allclose(predictor.predict(encode(GLYPHS, ends)), EXTREMES, atol=2e-7)
    assert predictor.mae == 0.00439248021211355
    assert str(predictor.origin) == "of supernet glyphs-ofa (a3fe0c0e0eb3) on glyphs-v1-test"
    assert predictor.spread is None and predictor.intervals is None


@pytest.mark.parametrize(
    ("recipe", "count", "total", "genotypes"),
    [("ofa", 3597, 2641.799193548387, 2798511), ("compofa", 1215, 915.6528225806451, 1059885)],
)
def test_the_shipped_accuracies(recipe: str, count: int, total: float, genotypes: int) -> None:
    table = Accuracies.load(shipped.artefact(f"glyphs-{recipe}.accuracy.jsonl"))
    rows, accuracy = table.arrays()
    assert (len(accuracy), float(accuracy.sum())) == (count, pytest.approx(total, abs=1e-9))
    assert int((rows.astype(int) * np.arange(1, rows.shape[1] + 1)).sum()) == genotypes
