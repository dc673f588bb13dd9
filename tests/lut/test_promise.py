"""Promised bounds hold as often as they say, on made-up devices whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compofa.errors import InputError
from compofa.network import arch_blocks
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut import promise
from lut.calibration import Calibration
from lut.model import LatencyModel
from lut.predictors.auto import AutoPredictor
from lut.promise import Bound, needed, pooled_quantile
from lut.promise_residuals import Residuals, Shape
from lut.promised import FittedBound, Promised
from lut.subnet_model import SubnetModel

SIDES = len(GLYPHS.resolutions)


class Device:
    """Networks are off by a skewed error of their own, by one of their resolution, by one of the pass, and by the noise
    of each measurement, which is heavy-tailed."""

    def __init__(self, seed: int, by_side: float = 0.0, by_size: bool = False, by_pass: float = 0.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.off = self.rng.normal(0, by_side, SIDES)
        self.by_size, self.by_pass = by_size, by_pass

    def networks(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Predicted latencies and indices of resolutions, shape (count,) each."""
        return self.rng.lognormal(0, 0.5, count), self.rng.integers(SIDES, size=count)

    def ratios(self, predicted_ms: np.ndarray, sides: np.ndarray, passes: int) -> np.ndarray:
        """Measured over predicted, shape (count, passes)."""
        spread = 0.01 * (1 / predicted_ms if self.by_size else np.ones(len(sides)))
        own = self.rng.gamma(2, 1, len(sides)) - 2
        noise = self.rng.standard_t(3, (len(sides), passes)) / 2
        level = self.rng.normal(1, self.by_pass, passes)
        return level * (1 + self.off[sides, None] + spread[:, None] * (own[:, None] + noise))

    def residuals(self, count: int, passes: int) -> Residuals:
        predicted_ms, sides = self.networks(count)
        return Residuals(GLYPHS, predicted_ms, self.ratios(predicted_ms, sides, passes), sides)


def kept(confidence: float, count: int, passes: int, draws: int = 100, **device: float) -> float:
    """Share of fresh networks, measured once, that are within their bounds, over many devices."""
    shares = []
    for seed in range(draws):
        one = Device(seed, **device)
        bound = Bound(one.residuals(count, passes), confidence)
        predicted_ms, sides = one.networks(200)
        measured_ms = predicted_ms * one.ratios(predicted_ms, sides, 1)[:, 0]
        shares.append((measured_ms <= bound.of(predicted_ms, sides[:, None])).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(("confidence", "count"), [(0.95, 19), (0.95, 60), (0.8, 40)])
def test_a_bound_holds_as_often_as_it_says(confidence: float, count: int, passes: int) -> None:
    share = kept(confidence, count, passes, draws=8000 // count)
    assert confidence - 0.01 <= share <= confidence + 1 / (count + 1) + 0.02


@pytest.mark.parametrize("device", [{"by_side": 0.01}, {"by_size": True}, {"by_side": 0.02, "by_size": True}])
def test_and_where_residuals_differ_by_resolution_and_size(device: dict[str, float]) -> None:
    for confidence in (0.8, 0.95):
        assert confidence - 0.015 <= kept(confidence, 60, 2, **device) <= confidence + 0.035


def test_and_where_passes_are_off_together() -> None:
    """By as much as networks are: what each pass says of itself would not do."""
    assert kept(0.95, 60, 2, by_pass=0.01) >= 0.93


def test_a_mutated_quantile_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """So these tests can fail."""
    lower = pooled_quantile

    def mutated(errors: np.ndarray, confidence: float) -> float:
        return lower(errors, confidence - 0.1)

    monkeypatch.setattr(promise, "pooled_quantile", mutated)
    assert kept(0.95, 60, 2) < 0.93
    assert kept(0.8, 40, 1) < 0.78


def test_what_is_rechecked_shifts_the_promise() -> None:
    """A device that has become 8 % slower keeps what was promised of this hour, not what was promised before."""
    before, after = [], []
    for seed in range(100):
        one = Device(seed)
        bound = Bound(one.residuals(60, 2), 0.9)
        predicted_ms, sides = one.networks(200)
        measured_ms = 1.08 * predicted_ms * one.ratios(predicted_ms, sides, 1)[:, 0]
        again = 1.08 * (1 + 0.01 * one.rng.standard_t(3, 8) / 2)
        for found, of in ((before, bound), (after, bound.observing(again.tolist()))):
            found.append((measured_ms <= of.of(predicted_ms, sides[:, None])).mean())
    assert np.mean(before) < 0.1
    assert 0.89 <= np.mean(after) <= 0.96


def test_a_quantile_counts_networks_not_measurements() -> None:
    errors = np.arange(38.0).reshape(19, 2)
    assert pooled_quantile(errors, 0.95) == 37
    assert pooled_quantile(errors, 0.5) == 19
    assert pooled_quantile(errors, 1e-12) == 0
    assert pooled_quantile(errors[:, :1], 0.95) == 36
    assert [needed(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]


@pytest.mark.parametrize("floor", [0.0, 0.5, 1.0])
def test_a_bound_is_additive_where_the_prediction_is(table, floor: float) -> None:
    bound = Bound(Device(0, by_side=0.02).residuals(60, 2), 0.9).observing([1.02, 1.03])
    shape = Shape(np.linspace(-0.01, 0.02, SIDES), floor, 0.3)
    object.__setattr__(bound, "_chosen", (shape, np.zeros(60)))
    model = LatencyModel(table, {"scale": 1.1, "call": 0.05})
    promised, space = Promised(model, bound), get_space("ofa", GLYPHS)
    genotypes = encode(GLYPHS, [space.sample(np.random.default_rng(i)) for i in range(50)])
    lookup = promised.as_lookup()
    assert lookup is not None
    np.testing.assert_allclose(lookup.predict(genotypes), promised.predict(genotypes))
    assert (promised.predict(genotypes) > promised.expected_ms(genotypes)).all()


def made_up(table, count: int) -> Calibration:
    """A calibration whose networks take 1.25 x the table's sum plus 0.1 ms, give or take 1 %."""
    rng, space = np.random.default_rng(0), get_space("ofa", GLYPHS)
    archs = tuple(dict.fromkeys(space.sample(rng) for _ in range(count)))
    truth = np.array([1.25 * table.latency_ms(arch_blocks(GLYPHS, arch)) + 0.1 for arch in archs])
    first, second = (tuple((truth * rng.normal(1, 0.01, len(truth))).tolist()) for _ in range(2))
    return Calibration(table, archs, first, second)


def test_a_calibration_promises_by_predictions_that_did_not_know(table) -> None:
    calibration = made_up(table, 24)
    residuals = Residuals.of(calibration)
    assert 0.008 < residuals.within.std() < 0.014
    inside = calibration.model.predict(encode(GLYPHS, calibration.archs))
    assert (residuals.predicted_ms != inside).all()
    np.testing.assert_allclose(residuals.predicted_ms, calibration.held_out_ms, rtol=0.01)
    assert 0.01 < Bound(residuals, 0.95).margin < 0.04


def test_a_fitted_model_promises_by_its_own_residuals() -> None:
    """On both sides of them: the bound at 0.1 is below the prediction."""
    rng, space = np.random.default_rng(1), get_space("ofa", GLYPHS)
    genotypes = encode(GLYPHS, [space.sample(rng) for _ in range(150)])
    truth = 0.1 + genotypes[:, 1:].sum(1) / 50
    measured = truth * rng.normal(1, 0.02, len(truth))
    known = slice(0, 45)
    model = SubnetModel.fit(GLYPHS, "c", genotypes[known], measured[known], AutoPredictor(["ridge"]))
    promised = Promised(model, FittedBound(model, 0.9))
    share = (measured[45:] <= promised.predict(genotypes[45:])).mean()
    assert 0.8 < share < 0.99
    assert promised.as_lookup() is None
    low = Promised(model, FittedBound(model, 0.1)).predict(genotypes)
    assert (low < model.predict(genotypes)).all()
    slower = promised.observing([1.1, 1.1]).predict(genotypes)
    np.testing.assert_allclose(slower, 1.1 * promised.predict(genotypes))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1.5, -0.1, math.nan])
def test_what_is_no_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(InputError, match="above 0 and below 1"):
        Bound(Device(0).residuals(60, 2), confidence)


def test_too_few_networks_are_refused() -> None:
    Bound(Device(0).residuals(19, 2), 0.95)
    with pytest.raises(InputError, match="needs 19 measured networks or more, not 18: run hwbench validate"):
        Bound(Device(0).residuals(18, 2), 0.95)
