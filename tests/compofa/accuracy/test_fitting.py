"""Predictors fitted to measured subnets: what they say of themselves is true."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from compofa.accuracy.candidates import CANDIDATES, crossed
from compofa.accuracy.evidence import regress
from compofa.accuracy.fitting import fit_predictor, fit_quickly, prepare
from compofa.accuracy.folds import FOLDS, families_of, folds, group
from compofa.accuracy.inputs import capacities
from compofa.accuracy.intervals import Intervals
from compofa.accuracy.learning_curve import LearningCurve, Point, learning_curve
from compofa.accuracy.picked import SHRINK, WIDEN, after_pick, interval_after_pick, lower_bound
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.errors import InputError
from compofa.spaces.arch import extreme
from compofa.spaces.layout import encode
from compofa.spaces.registry import FAMILIES, GLYPHS
from compofa.spaces.space import get_space

RIDGE, CAPACITIES = CANDIDATES


def drawn(count: int, seed: int = 0, name: str = "glyphs", resolutions: int = 1) -> np.ndarray:
    """Random subnets at the largest resolutions."""
    family, rng = FAMILIES[name], np.random.default_rng(seed)
    sides = family.resolutions[-resolutions:]
    return encode(
        family, [get_space("ofa", family).sample(rng, int(rng.choice(sides))) for _ in range(count)]
    )


def saturating(genotypes: np.ndarray, name: str = "glyphs") -> np.ndarray:
    """An accuracy that more of everything raises less and less."""
    size = capacities(FAMILIES[name], genotypes).mean(1)
    return 0.8 - 0.1 * np.exp(-2.0 * size) + 0.01 * genotypes[:, 0] / 5


def noisy(genotypes: np.ndarray, scale: float, seed: int = 1) -> np.ndarray:
    return saturating(genotypes) + np.random.default_rng(seed).normal(0, scale, len(genotypes))


# --- what is held out together ---


def test_subnets_that_differ_in_one_choice_are_held_out_together() -> None:
    genotypes = drawn(60)
    near = genotypes[:20].copy()
    near[:, 1] = 1 + near[:, 1] % GLYPHS.elastic_units[0].max_depth  # another choice in the first slot
    far = near.copy()
    far[:, 2] = 1 + far[:, 2] % 9
    found, neighbours = group(np.concatenate([genotypes, near, far]))
    assert neighbours
    np.testing.assert_array_equal(found[60:80], found[:20])
    np.testing.assert_array_equal(found[80:], found[:20])  # by way of the one between
    assert len(np.unique(found)) == 60
    fold = folds(found, seed=0)
    assert all(len(np.unique(fold[found == each])) == 1 for each in range(60))
    assert np.ptp(np.bincount(fold, minlength=FOLDS)) <= 3


def test_a_space_that_was_measured_whole_is_one_chain_and_split_all_the_same() -> None:
    genotypes = encode(GLYPHS, list(islice(get_space("compofa-elastic", GLYPHS).enumerate([16]), 300)))
    assert np.bincount(families_of(genotypes)).max() > 30
    found, neighbours = group(genotypes)
    assert not neighbours and len(np.unique(found)) == 300


# --- how good it says it is ---


@pytest.fixture(scope="module")
def fitted() -> AccuracyPredictor:
    train = drawn(300)
    return fit_predictor(GLYPHS, train, noisy(train, 0.004))


def test_what_was_picked_does_not_flatter_the_error() -> None:
    """150 random subnets of a noisy accuracy, and 300 of one choice each that are known exactly."""
    genotypes = np.concatenate([drawn(150), np.repeat(drawn(1, seed=9), 300, axis=0)])
    accuracy = np.concatenate([noisy(drawn(150), 0.004), saturating(drawn(1, seed=9)).repeat(300)])
    judges = np.arange(450) < 150
    found = [
        fit_predictor(GLYPHS, genotypes, accuracy, candidates=[RIDGE], judged_by=by) for by in (judges, None)
    ]
    assert [one.report["held_out"]["subnets"] for one in found] == [150, 450]
    assert found[0].mae > 2 * found[1].mae
    assert [one.intervals.subnets for one in found] == [150, 450]
    np.testing.assert_array_equal(found[0].predict(genotypes), found[1].predict(genotypes))


def test_a_quick_fit_is_the_last_candidate_without_its_intervals(fitted: AccuracyPredictor) -> None:
    train = drawn(300)
    quick = fit_quickly(GLYPHS, train, noisy(train, 0.004))
    np.testing.assert_allclose(quick.predict(train), fitted.predict(train))
    np.testing.assert_allclose(quick.deviation(train), fitted.deviation(train))
    assert quick.intervals is None and quick.mae is None


def test_saturation_is_learned_and_the_error_is_what_it_says(fitted: AccuracyPredictor) -> None:
    assert fitted.report["model"] == "capacities"
    errors = fitted.report["cross_validated_mae"]
    assert errors["capacities"] < 0.9 * errors["ridge"]
    test = drawn(2000, seed=5)
    error = np.abs(fitted.predict(test) - noisy(test, 0.004, seed=2)).mean()
    assert error == pytest.approx(fitted.mae, rel=0.15)


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_intervals_hold_what_they_promise(fitted: AccuracyPredictor, coverage: float) -> None:
    test = drawn(2000, seed=5)
    truth = noisy(test, 0.004, seed=2)
    low, high = fitted.interval(test, coverage)
    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(coverage, abs=0.04)
    assert fitted.report["intervals"]["coverage_90_pct"] == pytest.approx(90, abs=3)


def test_intervals_are_wider_for_what_is_unlike_the_measured(fitted: AccuracyPredictor) -> None:
    ends = encode(GLYPHS, [extreme(GLYPHS, largest=large, resolution=32) for large in (False, True)])
    assert fitted.deviation(ends).min() > 1.1 * np.median(fitted.deviation(drawn(500, seed=5)))


def test_a_file_keeps_how_sure_it_is(fitted: AccuracyPredictor, tmp_path) -> None:
    fitted.save(tmp_path / "p.safetensors")
    loaded, test = AccuracyPredictor.load(tmp_path / "p.safetensors"), drawn(300, seed=5)
    for one, two in zip(fitted.interval(test, 0.9), loaded.interval(test, 0.9), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(fitted.predict(test), loaded.predict(test))


@pytest.mark.parametrize(
    ("coverage", "words"), [(0.0, "not between"), (1.0, "not between"), (0.999, "promise no coverage above")]
)
def test_coverage_that_cannot_be_promised_is_refused(fitted: AccuracyPredictor, coverage, words) -> None:
    with pytest.raises(InputError, match=words):
        fitted.interval(drawn(2), coverage)


def test_a_published_predictor_says_that_it_does_not_know_how_sure_it_is(fitted: AccuracyPredictor) -> None:
    old = AccuracyPredictor(
        fitted.family, "one-hot", ((np.zeros((1, 125), "f4"), np.full(1, 0.5, "f4")),), {}
    )
    with pytest.raises(InputError, match="does not say how sure it is"):
        old.interval(drawn(2), 0.9)


def test_ratios_of_ten_subnets_by_hand() -> None:
    ten = Intervals.of(np.arange(1.0, 11.0))
    assert ten.factor(0.5) == 6.0  # the sixth of eleven
    assert ten.factor(0.9) == 10.0


# --- what it is fitted to ---


def test_subnets_that_are_hardly_known_hardly_count() -> None:
    """Half of the accuracies are off by 5 points: told so, the fit is better."""
    train = drawn(200)
    error = np.where(np.arange(200) % 2, 0.05, 0.0)
    accuracy = saturating(train) + error * np.random.default_rng(0).normal(size=200)
    test = drawn(1000, seed=5)
    off = [
        np.abs(
            fit_predictor(GLYPHS, train, accuracy, standard_error=given, candidates=[CAPACITIES]).predict(
                test
            )
            - saturating(test)
        ).mean()
        for given in (None, error)
    ]
    assert off[1] < 0.85 * off[0]


@pytest.mark.parametrize("name", ["glyphs-proxyless", "glyphs-resnet", "imagenet-w1.0"])
def test_any_family_will_do(name: str) -> None:
    """ResNets choose the width of a stage, and have a layer that is there or not."""
    train, test = (drawn(120, seed, name, resolutions=2) for seed in (0, 5))
    data = prepare(FAMILIES[name], train, saturating(train, name))
    assert len(data.own.resolutions) == 2
    predicted, deviation = CAPACITIES.fit(
        data.own, data.genotypes, data.accuracy, data.variance, 0
    )(data.own, prepare(FAMILIES[name], test, saturating(test, name)).genotypes)  # fmt: skip
    truth = saturating(test, name)
    assert np.abs(predicted - truth).mean() < 0.25 * truth.std()
    assert (deviation > 0).all()


def test_more_inputs_than_subnets_are_no_trouble() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(40, 200)), np.zeros(200)
    weight[:3] = 1.0
    found = regress([x[:, :3], x[:, 3:]], x @ weight, np.zeros(40))
    np.testing.assert_allclose(found.weight[:3], 1.0, atol=0.1)
    assert np.abs(found.weight[3:]).max() < 0.1 and 0 < found.noise < 0.1


def test_crossed_subnets_are_of_two_measured_ones() -> None:
    two = encode(GLYPHS, [extreme(GLYPHS, largest=large, resolution=32) for large in (False, True)])
    found = crossed(GLYPHS, two, 200, np.random.default_rng(0))
    assert len(np.unique(found, axis=0)) > 10
    for unit in range(len(GLYPHS.elastic_units)):
        mine = np.unique(found[:, 1:].reshape(200, len(GLYPHS.elastic_units), -1)[:, unit], axis=0)
        assert len(mine) == 2


# --- the learning curve ---


def law(*sizes: int, floor: float = 0.001) -> LearningCurve:
    return LearningCurve(tuple(Point(n, floor + 0.05 * n**-0.6, 0.9) for n in sizes))


def test_the_fewest_subnets_are_read_off_the_law() -> None:
    curve = law(50, 100, 200, 400, 800)
    wanted = 0.001 + 0.05 * 300**-0.6
    assert curve.fewest(wanted) == pytest.approx(300, rel=0.03)
    assert not curve.is_extrapolated(curve.fewest(wanted))
    further = curve.fewest(0.001 + 0.05 * 2000**-0.6)
    assert further == pytest.approx(2000, rel=0.1) and curve.is_extrapolated(further)
    assert curve.fewest(0.5) == 50  # a fit takes as many
    assert curve.fewest(0.0005) is None  # below the floor
    assert curve.fewest(0.001 + 0.05 * 20_000**-0.6) is None  # too far from what was measured


def test_a_learning_curve_falls_to_the_noise() -> None:
    train = drawn(400)
    curve = learning_curve(prepare(GLYPHS, train, noisy(train, 0.004)), "capacities", seed=0)
    assert [point.subnets for point in curve.points] == [50, 100, 200, 320]
    first, last = curve.points[0], curve.points[-1]
    assert first.mae > 1.15 * last.mae
    assert 0.004 * np.sqrt(2 / np.pi) < last.mae < 0.006  # that of the noise, and a little for the model
    assert last.spearman > first.spearman


# --- after a pick ---


def test_what_was_picked_is_expected_lower_and_less_surely(fitted: AccuracyPredictor) -> None:
    some = drawn(50, seed=5)
    plain, (low, high) = fitted.predict(some), fitted.interval(some, 0.9)
    expected, (wide_low, wide_high) = after_pick(fitted, some), interval_after_pick(fitted, some, 0.9)
    np.testing.assert_allclose(plain - expected, SHRINK * fitted.deviation(some))
    np.testing.assert_allclose(wide_high - wide_low, WIDEN * (high - low), rtol=1e-6)
    np.testing.assert_allclose(lower_bound(fitted, some, 0.95), wide_low)
    assert (lower_bound(fitted, some, 0.99) < wide_low).all()
    with pytest.raises(InputError, match="confidence of 1 is not between"):
        lower_bound(fitted, some, 1.0)


def test_picks_of_a_predictor_are_as_good_as_said_after_the_pick(fitted: AccuracyPredictor) -> None:
    """The best hundred of 20,000 by prediction are not promised more than they have."""
    many = crossed(GLYPHS, drawn(500, seed=7), 20_000, np.random.default_rng(3))
    best = many[np.argsort(-after_pick(fitted, many))[:100]]
    truth = noisy(best, 0.004, seed=4)
    optimism = after_pick(fitted, best).mean() - truth.mean()
    assert -fitted.deviation(best).mean() < optimism < 0.001
    low, high = interval_after_pick(fitted, best, 0.9)
    assert np.mean((low <= truth) & (truth <= high)) >= 0.85
