"""What each estimator is good for: sums, bends, single slots, spoiled rows."""

from __future__ import annotations

import numpy as np
import pytest

from lut.predictors import ESTIMATORS, gaussian_process
from lut.predictors.base import Estimator, Floats, random_folds
from lut.predictors.gaussian_process import GaussianProcess, _Kernel
from lut.predictors.linear import Additive
from lut.predictors.roofline import Roofline
from lut.scores import mape_pct

from .conftest import Device

TRAIN, TEST = slice(0, 200), slice(200, 400)


def error_pct(estimator: Estimator, device: Device, measured_ms: Floats, true_ms: Floats) -> float:
    """Of predictions of the second half, fitted on the first."""
    estimator.fit(device.rows[TRAIN], measured_ms[TRAIN])
    return mape_pct(true_ms[TEST], estimator.predict(device.rows[TEST]))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_learns_a_device(name: str, device: Device) -> None:
    guess = mape_pct(device.true_ms[TEST], np.full(200, device.measured_ms[TRAIN].mean()))
    assert error_pct(ESTIMATORS[name](), device, device.measured_ms, device.true_ms) < 0.4 * guess


@pytest.mark.parametrize("name", ESTIMATORS)
def test_same_rows_and_seed_same_answers(name: str, device: Device) -> None:
    some = device.rows[slice(0, 60)]
    one, two = (ESTIMATORS[name](seed=3).fit(some, device.measured_ms[:60]) for _ in range(2))
    np.testing.assert_array_equal(one.predict(device.rows), two.predict(device.rows))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_fewest_rows_it_asks_for_are_enough(name: str, device: Device) -> None:
    few = slice(0, ESTIMATORS[name].min_rows)
    predicted = ESTIMATORS[name]().fit(device.rows[few], device.measured_ms[few]).predict(device.rows)
    assert np.isfinite(predicted).all()


def test_additive_finds_the_prices(device: Device) -> None:
    costs = np.hstack([device.rows.linear["launches"], device.rows.linear["work"]])
    true = costs @ np.array([0.5, 0.1, 0.2, 0.3, 0.0, 0.4, 1.0])
    assert error_pct(Additive(), device, true, true) < 1e-6


def test_no_price_is_negative(device: Device) -> None:
    noise = np.random.default_rng(0).uniform(0.5, 2, len(device.rows))
    assert (Additive().fit(device.rows, noise).price_ms >= 0).all()


def test_only_the_roofline_bends(device: Device) -> None:
    """A sum cannot say which of host and device is the later one."""
    additive, roofline = (
        error_pct(kind(), device, device.measured_ms, device.true_ms) for kind in (Additive, Roofline)
    )
    assert roofline < 0.5 < 2 < additive
    launch, work = Roofline().fit(device.rows, device.measured_ms).sides(device.rows)
    later = np.maximum(launch, work)
    assert mape_pct(device.true_ms, later) < 2
    assert 0.25 < (launch > work).mean() < 0.75


def test_a_roofline_that_does_not_bend_is_a_sum(device: Device) -> None:
    costs = np.hstack([device.rows.linear["launches"], device.rows.linear["work"]])
    true = costs @ np.array([0.5, 0.1, 0.2, 0.3, 0.1, 0.4, 1.0])
    assert error_pct(Roofline(), device, true, true) < 1


def test_a_gaussian_process_finds_a_slot_that_costs_more_than_its_work(device: Device) -> None:
    work = 1 + device.rows.linear["work"] @ np.ones(4)
    true = (
        work * (1 + 0.0 * work)
        + 1.5 * device.rows.linear["choices"][:, 40]
        + 1.0 * (device.genotypes[:, 9] == 3)
    )
    additive, process = (error_pct(kind(), device, true, true) for kind in (Additive, GaussianProcess))
    assert process < 0.5 * additive


@pytest.mark.parametrize("name", ["additive", "roofline", "gp", "roofline-gp"])
def test_spoiled_measurements_do_not_bend_the_fit(name: str, device: Device) -> None:
    spoiled = device.measured_ms.copy()
    spoiled[:10] *= 2
    clean = error_pct(ESTIMATORS[name](), device, device.measured_ms, device.true_ms)
    assert error_pct(ESTIMATORS[name](), device, spoiled, device.true_ms) < clean + 0.5


@pytest.mark.parametrize("name", ["gp", "roofline-gp"])
def test_leaving_folds_out_in_closed_form_is_nearly_leaving_them_out(
    name: str, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variances alone have seen the fold."""
    rows, measured = device.rows[TRAIN], device.measured_ms[TRAIN]
    folds = random_folds(200, 10, 0)
    monkeypatch.setattr(gaussian_process, "CLOSED_FORM_ROWS", 200)
    closed = ESTIMATORS[name]().cross_predict(rows, measured, folds)
    honest = Estimator.cross_predict(ESTIMATORS[name](), rows, measured, folds)
    assert mape_pct(honest, closed) < 0.3
    assert mape_pct(measured, closed) == pytest.approx(mape_pct(measured, honest), rel=0.1)


def test_the_gradient_of_the_evidence_is_right() -> None:
    rng = np.random.default_rng(0)
    columns, places = rng.normal(size=(2, 12, 3)), rng.normal(size=(12, 2))
    distance = ((places[:, None] - places) ** 2).mean(axis=2)
    kernel = _Kernel(np.array([c @ c.T for c in columns]), distance, np.ones((12, 12)))
    logs, noise = kernel.start + 0.3, rng.uniform(0.5, 2, 12)
    _, gradient = kernel._surprise(logs, noise)
    for i, slope in enumerate(gradient):
        step = np.eye(len(logs))[i] * 1e-5
        up, down = kernel._surprise(logs + step, noise)[0], kernel._surprise(logs - step, noise)[0]
        assert slope == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-6)
