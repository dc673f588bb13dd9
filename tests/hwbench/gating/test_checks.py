"""Each kind of change turns the check of that kind red, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compofa.genotype import Genotypes
from hwbench.gating import checks, models
from hwbench.gating.baseline import Baseline
from hwbench.gating.checks import DRIFT_LIMIT, State, judge, present
from hwbench.gating.findings import CODES, FAIL, PASS, Finding, exit_code
from hwbench.gating.golden import GoldenSet
from lut.calibration import Calibration
from lut.model import Floats
from lut.table import Table


class Wrong:
    """The calibrated table, but for what `change` makes of its predictions."""

    def __init__(self, training: Calibration, change: Callable[[Floats], Floats]) -> None:
        self.model, self.change = training.model, change

    def predict_ms(self, genotypes: Genotypes) -> Floats:
        return self.change(self.model.predict_ms(genotypes))


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
def test_a_prediction_that_is_none_is_a_lack_of_coverage(wrong, bad: float) -> None:
    findings = wrong(lambda ms: np.where(np.arange(len(ms)) < 2, bad, ms))
    assert red(findings) == {"coverage"}
    (finding,) = (f for f in findings if f.verdict == FAIL)
    assert finding.value == "46 subnets" and "2 predictions are no positive numbers" in finding.advice


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


def test_a_block_without_an_entry_costs_only_the_subnets_that_have_it(
    golden: GoldenSet, baseline: Baseline
) -> None:
    fitted = {block for network in golden.training.networks for block in network}
    lost = next(block for network in golden.test.networks for block in network if block not in fitted)
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


def test_a_change_of_any_block_moves_a_probe(golden: GoldenSet) -> None:
    tested = {block for network in golden.test.networks for block in network}
    probed = {block for arch in golden.asked[30:] for block in golden.space.blocks(arch)}
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


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no JSON"),
        ("[]", "not a baseline"),
        ('{"format": "hwbench-baseline", "schema": 7}', "schema 7"),
        ('{"format": "hwbench-baseline", "schema": 1}', "broken baseline: KeyError 'sets'"),
        (
            '{"format": "hwbench-baseline", "schema": 1, "environment": {}, "sets": {"a": '
            '{"data": "x", "coverage": 1, "predicted_ms": {"m": [1, -1]}}}}',
            "no list of positive numbers",
        ),
    ],
)
def test_a_broken_baseline_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"b\.json: .*{says}"):
        Baseline.load(path)
