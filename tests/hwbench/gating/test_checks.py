"""Each kind of change turns the check of that kind red, and no other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compofa.blocks import Block
from compofa.errors import InputError
from compofa.spaces.layout import Genotypes, encode
from hwbench.gating import checks, models
from hwbench.gating.baseline import Baseline, Frozen
from hwbench.gating.checks import DRIFT_LIMIT, Comparison, State, _accuracy_finding, drift, judge, present
from hwbench.gating.findings import CODES, FAIL, PASS, Finding, exit_code
from hwbench.gating.golden import Figures, GoldenSet
from hwbench.gating.statistics import Change, Judged
from lut.calibration import Calibration
from lut.model import Floats
from lut.table import Table

SHIPPED = Path(__file__).parents[2] / "golden"

pytestmark = pytest.mark.usefixtures("calibrated_only")


class Wrong:
    """The calibrated table, but for what `change` makes of its predictions."""

    def __init__(self, training: Calibration, change: Callable[[Floats], Floats]) -> None:
        self.model, self.change = training.model, change

    def predict(self, genotypes: Genotypes) -> Floats:
        return self.change(self.model.predict(genotypes))


@pytest.fixture
def baseline(golden: GoldenSet) -> Baseline:
    return present([State.of(golden)])


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch, golden: GoldenSet, baseline: Baseline):
    """Judges the model after a change of its predictions."""

    def judged(change: Callable[[Floats], Floats]) -> list[Finding]:
        monkeypatch.setitem(models.MODELS, "calibrated", lambda training: Wrong(training, change))
        return judge([State.of(golden)], baseline)

    return judged


def red(findings: list[Finding]) -> set[str]:
    return {finding.check for finding in findings if finding.verdict == FAIL}


def test_nothing_changed_nothing_red(wrong) -> None:
    findings = wrong(lambda ms: ms)
    assert {f.verdict for f in findings} == {PASS}
    assert {f.check for f in findings} == {"coverage", "drift", "accuracy"}
    assert exit_code(findings) == 0


def test_last_digits_are_no_drift_but_a_thousandth_is(wrong) -> None:
    assert red(wrong(lambda ms: ms * (1 + 1e-6))) == set()
    assert red(wrong(lambda ms: ms * (1 + 2 * DRIFT_LIMIT))) == {"drift"}


def test_a_drift_of_one_subnet_is_seen(golden: GoldenSet, wrong) -> None:
    def one(ms: Floats) -> Floats:
        return np.where(np.arange(len(ms)) == 3, ms * 1.01, ms)

    (finding,) = (f for f in wrong(one) if f.verdict == FAIL)
    assert finding.check == "drift" and finding.numbers["moved"] == 1
    assert f"1 of {len(golden.asked)} predictions of calibrated moved" in finding.advice


def test_a_wrong_factor_is_a_drift_and_a_regression(golden: GoldenSet, wrong) -> None:
    findings = wrong(lambda ms: ms * 1.05)
    assert red(findings) == {"drift", "accuracy"}
    assert exit_code(findings) == CODES["accuracy"]
    bias = next(f for f in findings if f.what == "calibrated: bias")
    assert bias.numbers["after"] == pytest.approx(bias.numbers["before"] + 5, abs=2)
    assert f"margin {golden.entry.margins.bias_pct:g})" in bias.advice and "no longer at most" in bias.advice


@pytest.mark.parametrize("sets", [1, 12])
def test_a_model_that_broke_is_red_among_however_many(golden: GoldenSet, sets: int) -> None:
    """Holm's correction multiplies each p by the number of cases: the smallest that can be told must allow for it."""
    entry, test = golden.entry, golden.test
    predicted = golden.training.model.predict(encode(golden.table.family, test.archs))
    before, after = (Judged(test.measured_ms, factor * predicted) for factor in (1.0, 2.0))
    broken = Comparison(entry.name, entry.limits, entry.margins, "calibrated", before, after)
    found = checks.accuracy([broken] * 8 * sets)
    assert len(found) == 32 * sets
    assert all(f.verdict == FAIL for f in found if f.what == "calibrated: MAPE")


def test_a_change_for_the_better_is_a_drift_only(
    monkeypatch: pytest.MonkeyPatch, golden: GoldenSet, baseline: Baseline
) -> None:
    truth = golden.test.measured_ms

    def better(ms: Floats) -> Floats:
        return np.concatenate([truth, ms[len(truth) :]])

    monkeypatch.setitem(models.MODELS, "calibrated", lambda training: Wrong(training, better))
    assert red(judge([State.of(golden)], baseline)) == {"drift"}


def test_worse_but_above_the_floor_is_a_drift_only(golden: GoldenSet, baseline: Baseline, wrong) -> None:
    findings = wrong(lambda ms: ms * 1.05)
    limits = replace(golden.entry.limits, mape_pct=20, bias_pct=20, within_10_pct=0, spearman=0)
    state = State.of(replace(golden, entry=replace(golden.entry, limits=limits)))
    frozen = baseline.sets[golden.name]
    kinder = checks.accuracy(list(checks.comparisons(state, frozen)))
    assert "accuracy" in red(findings)
    assert red(kinder) == set()


def test_ranks_turned_round_are_seen(wrong) -> None:
    findings = wrong(lambda ms: ms.mean() ** 2 / ms)
    assert any(f.what == "calibrated: Spearman" and f.verdict == FAIL for f in findings)


@pytest.mark.parametrize("bad", [np.nan, -1.0, 0.0, np.inf])
def test_a_prediction_that_is_none_is_a_lack_of_coverage(wrong, golden: GoldenSet, bad: float) -> None:
    findings = wrong(lambda ms: np.where(np.arange(len(ms)) < 2, bad, ms))
    assert red(findings) == {"coverage"}
    (finding,) = (f for f in findings if f.verdict == FAIL)
    checked = finding.value.removesuffix(" subnets")
    assert (
        int(checked) >= len(golden.test.archs) - 2
        and "2 predictions are no positive numbers" in finding.advice
    )


def test_a_model_that_cannot_be_fitted_is_a_lack_of_coverage(
    monkeypatch: pytest.MonkeyPatch, golden: GoldenSet, baseline: Baseline
) -> None:
    def unfit(training: Calibration) -> models.Model:
        raise ValueError("not enough rows")

    monkeypatch.setitem(models.MODELS, "calibrated", unfit)
    findings = judge([State.of(golden)], baseline)
    assert red(findings) == {"coverage"}
    assert exit_code(findings) == CODES["coverage"]
    with pytest.raises(ValueError, match="cannot be a baseline: not enough rows"):
        present([State.of(golden)])


def test_a_block_without_an_entry_costs_only_the_subnets_that_have_it(golden: GoldenSet) -> None:
    used = Counter(block for network in golden.training.networks for block in set(network))
    lost = min((block for network in golden.test.networks for block in network), key=lambda b: used[b])
    # Nothing was fitted to it.
    golden = replace(golden, training=_without(golden.training, lost))
    baseline = present([State.of(golden)])
    entries = {block: m for block, m in golden.table.entries.items() if block != lost}
    table = Table(golden.table.header, entries)
    halves = {name: replace(getattr(golden, name), table=table) for name in ("training", "test")}
    state = State.of(replace(golden, table=table, **halves))
    findings = judge([state], baseline)
    assert red(findings) == {"coverage"}
    blocks, subnets = (f for f in findings if f.check == "coverage")
    assert f"no entry for 1 blocks, first {lost}" in blocks.advice
    asked = [golden.space.blocks(arch) for arch in golden.asked]
    assert subnets.numbers["answered"] == sum(lost not in network for network in asked) < len(asked) - 1


def _without(calibration: Calibration, block: Block) -> Calibration:
    kept = [i for i, network in enumerate(calibration.networks) if block not in network]
    columns = (
        (values[i] for i in kept)
        for values in (calibration.archs, calibration.first_ms, calibration.second_ms)
    )
    archs, first_ms, second_ms = map(tuple, columns)
    return replace(calibration, archs=archs, first_ms=first_ms, second_ms=second_ms)


def test_a_change_of_any_block_moves_a_probe(golden: GoldenSet) -> None:
    tested = {block for network in golden.test.networks for block in network}
    probed = {block for arch in golden.asked[len(golden.test.archs) :] for block in golden.space.blocks(arch)}
    assert not set(golden.table.entries) <= tested
    assert (
        probed == set(golden.table.entries) == set(golden.space.all_blocks(golden.table.header.resolutions))
    )


def test_models_come_and_go(monkeypatch: pytest.MonkeyPatch, golden: GoldenSet, baseline: Baseline) -> None:
    monkeypatch.setitem(models.MODELS, "another", lambda training: training.model)
    (new,) = (f for f in judge([State.of(golden)], baseline) if f.verdict == FAIL)
    assert (new.check, new.what, new.value) == ("drift", "another", "new")
    both = present([State.of(golden)])
    monkeypatch.delitem(models.MODELS, "another")
    (gone,) = (f for f in judge([State.of(golden)], both) if f.verdict == FAIL)
    assert (gone.check, gone.what, gone.value) == ("drift", "another", "gone")


def test_a_baseline_of_other_data_is_refused(golden: GoldenSet, baseline: Baseline) -> None:
    frozen = baseline.sets[golden.name]
    short = {model: ms[:-1] for model, ms in frozen.predicted_ms.items()}
    for other in (replace(frozen, digest="0"), replace(frozen, predicted_ms=short)):
        findings = judge([State.of(golden)], Baseline({golden.name: other}, {}))
        assert red(findings) == {"data"}
        assert "the baseline is of other golden data" in next(f for f in findings if f.verdict == FAIL).advice
    assert red(judge([State.of(golden)], Baseline({}, {}))) == {"data"}


def test_of_several_failures_the_most_fundamental_is_returned() -> None:
    def found(check: str) -> Finding:
        return Finding(check, "t", "w", "v", "l", FAIL)

    assert sorted(CODES.values()) == [10, 11, 12, 13, 14]
    assert exit_code([found("drift"), found("data"), found("accuracy")]) == CODES["data"]
    assert exit_code([found("drift"), found("accuracy")]) == CODES["accuracy"]


# --- intervals ---


class Guess(models.Bounded):
    """Intervals of a given width."""

    def __init__(self, training: Calibration, width: float) -> None:
        self.table_model, self.width = training.model, width

    def predict(self, genotypes: Genotypes) -> Floats:
        return self.table_model.predict(genotypes)

    def interval_ms(self, genotypes: Genotypes, coverage: float) -> tuple[Floats, Floats]:
        predicted = self.predict(genotypes)
        return predicted * (1 - self.width), predicted * (1 + self.width)


@pytest.mark.parametrize(("width", "verdict"), [(0.2, PASS), (0.005, FAIL)])
def test_intervals_that_promise_too_much_are_red(
    monkeypatch: pytest.MonkeyPatch, golden: GoldenSet, baseline: Baseline, width: float, verdict: str
) -> None:
    monkeypatch.setitem(models.MODELS, "calibrated", lambda training: Guess(training, width))
    findings = judge([State.of(golden)], baseline)
    (interval,) = (f for f in findings if f.what == "calibrated: 90 % interval")
    assert interval.verdict == verdict
    assert red(findings) == ({"accuracy"} if verdict == FAIL else set())


# --- the baseline's file ---


def test_a_baseline_is_read_back(tmp_path: Path, baseline: Baseline, golden: GoldenSet) -> None:
    path = tmp_path / "b.json"
    baseline.save(path)
    loaded = Baseline.load(path)
    assert loaded.environment == baseline.environment
    assert {f.verdict for f in judge([State.of(golden)], loaded)} == {PASS}
    again = tmp_path / "again.json"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.json", "b.json"]


def one_set(coverage: str, predicted_ms: str) -> str:
    """A baseline of one set and one model, in JSON."""
    fields = f'"data": "x", "coverage": {coverage}, "predicted_ms": {{"m": {predicted_ms}}}'
    return (
        f'{{"format": "hwbench-baseline", "schema": 1, "environment": {{}}, "sets": {{"a": {{{fields}}}}}}}'
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not JSON"),
        ("[]", "not a baseline"),
        ('{"format": "hwbench-baseline", "schema": 7}', "schema 7"),
        ('{"format": "hwbench-baseline", "schema": 1}', "it lacks 'sets'"),
        (
            '{"format": "hwbench-baseline", "schema": 1, "environment": {}, "sets": {"a": '
            '{"data": "x", "coverage": 1, "predicted_ms": {"m": [1, -1]}}}}',
            "no list of latencies",
        ),
        *(
            (one_set("1", numbers), "predictions of m are no list of latencies")
            for numbers in [
                "[0]",
                "[1e-320]",
                "[1e300]",
                "[true]",
                '["1"]',
                "[[1]]",
                "[]",
                "{}",
                "5",
                "[1, null]",
            ]
        ),
        *(
            (one_set(share, "[1]"), "a coverage is a share from 0 to 1")
            for share in ("-0.1", "1.5", "true", "null", '"1"', "1e308")
        ),
    ],
)
def test_a_broken_baseline_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"b\.json: .*{says}"):
        Baseline.load(path)


def test_a_damaged_baseline_is_refused_but_an_old_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    shipped = SHIPPED / "baseline.json"
    Baseline.load(shipped).save(path)
    whole = json.loads(path.read_text())
    assert "sha256" in whole
    for name, one in whole["sets"].items():
        for model in one["predicted_ms"]:
            damaged = json.loads(path.read_text())
            damaged["sets"][name]["predicted_ms"][model][0] *= 1.0001
            (tmp_path / "d.json").write_text(json.dumps(damaged))
            with pytest.raises(InputError, match=r"d\.json: damaged, or edited by hand"):
                Baseline.load(tmp_path / "d.json")
    del whole["sha256"]
    (tmp_path / "old.json").write_text(json.dumps(whole))
    assert Baseline.load(tmp_path / "old.json").sets.keys() == whole["sets"].keys()


def test_what_became_infinite_has_moved(golden: GoldenSet) -> None:
    """No ratio is dropped because it cannot be written down."""
    state = State.of(golden)
    answers = state.answers["calibrated"]
    tiny = np.full_like(answers.predicted_ms, 5e-324)
    frozen = Frozen(golden.entry.digest, 1.0, {"calibrated": tiny})
    with np.errstate(all="ignore"):
        found = next(f for f in drift(state, frozen) if f.what == "calibrated")
    assert found.verdict == FAIL and found.numbers["moved"] == len(tiny)


@pytest.mark.parametrize(("score", "after"), [("mape_pct", 9.0), ("within_10_pct", 10.0)])
def test_a_row_that_passes_does_not_read_as_if_it_failed(score: str, after: float) -> None:
    """Worse than the floor, but not beyond chance: then the floor is not what it is held to."""
    figures = Figures(1.0, 1.0, 90.0, 0.9)
    compared = Comparison("t", figures, figures, "m", None, None)  # type: ignore[arg-type]
    chance = _accuracy_finding(compared, score, Change(8.9, after, 0.05, 0.5), 0.5)
    margin = _accuracy_finding(compared, score, Change(8.9, after), 1.0)
    for found, why in ((chance, "chance aside"), (margin, "margin aside")):
        assert found.verdict == PASS and found.limit.startswith("was 8.9") and found.limit.endswith(why)
    failed = _accuracy_finding(compared, score, Change(8.9, after, 0.05, 0.001), 0.001)
    assert failed.verdict == FAIL and failed.limit.startswith("at ")
