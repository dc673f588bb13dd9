"""The choice rests on rows nobody had seen, prefers the simple, and can be repeated from a file."""

from __future__ import annotations

import numpy as np
import pytest

from lut.predictors import ESTIMATORS
from lut.predictors.auto import AutoPredictor
from lut.predictors.corrected import XGBoost
from lut.predictors.linear import Ridge
from lut.scores import mape_pct

from .conftest import NOISE, Device

FAST = ("additive", "roofline", "ridge")


def test_auto_finds_the_device(device: Device) -> None:
    """All candidates on 120 rows: near the noise on unseen ones, and bounds that hold."""
    train, test = slice(0, 120), slice(120, 400)
    told: list[str] = []
    predictor = AutoPredictor(note=told.append).fit(device.rows[train], device.measured_ms[train])
    predicted, low, high = predictor.answer(device.rows[test])
    assert mape_pct(device.true_ms[test], predicted) < 100 * NOISE
    assert 0.8 < ((low <= device.measured_ms[test]) & (device.measured_ms[test] <= high)).mean() < 0.98
    assert list(predictor.candidates) == list(ESTIMATORS) and len(told) == len(ESTIMATORS)
    assert sum(predictor.weights.values()) == pytest.approx(1)
    assert predictor.weights.keys() & {"roofline", "roofline-gp"}
    np.testing.assert_array_equal(predictor.predict(device.rows[test]), predicted)
    np.testing.assert_array_equal(predictor.interval(device.rows[test]), (low, high))


def test_refitting_what_was_chosen_gives_the_same(device: Device) -> None:
    rows, measured = device.rows[slice(0, 60)], device.measured_ms[:60]
    first = AutoPredictor(FAST).fit(rows, measured)
    again = AutoPredictor(FAST).refit(rows, measured, first.weights, first.unseen_ms)
    np.testing.assert_array_equal(first.answer(device.rows), again.answer(device.rows))


def test_what_cannot_be_fitted_is_left_out_with_the_reason(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(XGBoost, "unavailable", classmethod(lambda cls: "not installed"))
    rows, measured = device.rows[slice(0, 16)], device.measured_ms[:16]
    predictor = AutoPredictor(("additive", "ridge", "gp", "xgboost")).fit(rows, measured)
    assert predictor.candidates["gp"] == "needs 23 measured rows or more, not 16"
    assert predictor.candidates["xgboost"] == "not installed"
    assert predictor.weights.keys() <= {"additive", "ridge"}
    with pytest.raises(ValueError, match="gp: needs 23 measured rows or more, not 16"):
        AutoPredictor(("gp",)).fit(rows, measured)
    with pytest.raises(ValueError, match="the model needs xgboost, but not installed"):
        AutoPredictor().refit(rows, measured, {"xgboost": 1.0}, measured)


def test_a_candidate_that_fails_does_not_cost_the_others(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(Ridge, "fit", fail)
    predictor = AutoPredictor(FAST).fit(device.rows[slice(0, 40)], device.measured_ms[:40])
    assert predictor.candidates["ridge"] == "failed: SVD did not converge"
    assert predictor.weights.keys() <= {"additive", "roofline"}


def test_wrong_names_and_latencies_are_refused(device: Device) -> None:
    with pytest.raises(ValueError, match="unknown model 'gnn'; there are auto, additive, roofline"):
        AutoPredictor(("gnn",))
    for wrong in (0.0, -1.0, np.nan, np.inf):
        measured = device.measured_ms[:20].copy()
        measured[3] = wrong
        with pytest.raises(ValueError, match="positive milliseconds"):
            AutoPredictor(FAST).fit(device.rows[slice(0, 20)], measured)
    with pytest.raises(ValueError, match="20 rows, but latencies of shape"):
        AutoPredictor(FAST).fit(device.rows[slice(0, 20)], device.measured_ms[:19])
