"""The shipped accuracies of ImageNet: what they are of, how good they are, and that they are not asked beyond that."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from commands import build_lut, pareto, search

from compofa.accuracy.fitting import fit_predictor, scores
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.errors import InputError
from compofa.spaces.layout import encode
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.measured_accuracies import load_measured

FAMILY = get_family("imagenet-w1.0")
SHARED = Path(os.environ.get("HWBENCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
ROWS = SHARED / "ofa_imagenet_top1_train.csv"
needs_rows = pytest.mark.skipif(not ROWS.is_file(), reason=f"no published accuracies in {SHARED}")


@pytest.fixture(scope="module")
def predictor() -> AccuracyPredictor:
    return AccuracyPredictor.load(shipped.predictor("imagenet-w1.0"))


def test_it_says_whose_accuracies_it_predicts(predictor: AccuracyPredictor) -> None:
    assert predictor.resolutions == (224,)
    assert "OFA's own" in str(predictor.origin) and "ImageNet" in str(predictor.origin)
    assert "DyNAS-T" in predictor.origin.source and "picked by searches" in predictor.origin.source
    assert predictor.mae < 0.0007 and predictor.report["held_out"]["spearman"] > 0.996
    assert shipped.predictor("imagenet-w1.0").stat().st_size < 70_000


def test_nothing_is_said_outside_224_px(predictor: AccuracyPredictor) -> None:
    genotypes = encode(FAMILY, [get_space("ofa", FAMILY).sample(np.random.default_rng(0), 160)])
    with pytest.raises(InputError, match="knows only the resolutions 224"):
        predictor.predict(genotypes)


@needs_rows
def test_it_is_the_fit_of_the_published_rows(predictor: AccuracyPredictor) -> None:
    measured = load_measured(ROWS, FAMILY, "top1_pct")
    assert len(measured.accuracy) == predictor.report["subnets"] == 1500
    found = scores(measured.accuracy, predictor.predict(measured.genotypes))
    assert found["mae"] < 0.0006 and found["spearman"] > 0.997


@needs_rows
@pytest.mark.parametrize(("count", "mae", "spearman"), [(1000, 0.0012, 0.990), (300, 0.0014, 0.988)])
def test_rows_that_were_held_back(count: int, mae: float, spearman: float) -> None:
    measured = load_measured(ROWS, FAMILY, "top1_pct")
    order = np.random.default_rng(0).permutation(1500)
    train, test = measured.take(order[:count]), measured.take(order[1000:])
    fitted = fit_predictor(FAMILY, train.genotypes, train.accuracy)
    found = scores(test.accuracy, fitted.predict(test.genotypes))
    assert found["mae"] < 0.7 * mae and found["spearman"] > spearman
    low, high = fitted.interval(test.genotypes, 0.9)
    assert 0.87 <= np.mean((low <= test.accuracy) & (test.accuracy <= high)) <= 0.93


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Modelled tables of 224 px, of 160 px, and of both."""
    folder, found = tmp_path_factory.mktemp("tables"), {}
    given = ["--backend", "fpga", "--target", "zcu102-b4096", "--family", "imagenet-w1.0", "--space", "ofa"]
    for sides in ("224", "160", "160,224"):
        found[sides] = folder / f"{sides}.jsonl"
        assert build_lut.main([*given, "--resolutions", sides, "--out", str(found[sides])]) == 0
    return found


def test_pareto_draws_a_frontier_of_predicted_accuracies(tables, tmp_path, capsys) -> None:
    capsys.readouterr()
    given = [
        "--family",
        "imagenet-w1.0",
        "--space",
        "ofa",
        "--space",
        "compofa",
        "--lut",
        str(tables["160,224"]),
    ]
    assert (
        pareto.main([*given, "--json", "--out", str(tmp_path / "p.svg"), "--csv", str(tmp_path / "p.csv")])
        == 0
    )
    shown = capsys.readouterr()
    ofa, compofa = json.loads(shown.out)["spaces"]
    assert "nothing is known of accuracies at 160 px" in shown.err
    assert "a supernet that CompOFA's recipe trained is another" in shown.err
    assert compofa["subnets_predicted"] == 243 and compofa["enumerated"] and not ofa["enumerated"]
    for space in (ofa, compofa):
        assert (space["accuracy_is"], space["subnets_measured"]) == ("predicted", 0)
        assert "OFA's own" in space["accuracy_of"]["supernet"] and "OFA's own" in space["accuracy_words"]
        assert space["hypervolume"] > 0
        for point in space["frontier"]:
            low, high = point["accuracy_90_pct"]
            assert low < point["accuracy"] < high and high - low < 0.01
            assert point["arch"].startswith("r224-")
    assert ofa["hypervolume"] > compofa["hypervolume"]
    assert "accuracy predicted" in " ".join((tmp_path / "p.svg").read_text().split())
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert {row["accuracy_is"] for row in rows} == {"predicted"}
    for space in (ofa, compofa):  # every subnet of the frontier is a row, and no subnet is two
        mine = [row for row in rows if row["space"] == space["space"]]
        assert len({row["arch"] for row in mine}) == len(mine)
        there = {row["arch"] for row in mine if row["on_frontier"] == "1"}
        assert there == {point["arch"] for point in space["frontier"]}


@pytest.mark.parametrize(
    ("command", "words"),
    [(pareto, "nothing is known of accuracies at 160 px"), (search, "have no resolution in common")],
)
def test_a_table_of_other_resolutions_only_is_refused(tables, capsys, command, words) -> None:
    capsys.readouterr()
    assert command.main(["--family", "imagenet-w1.0", "--lut", str(tables["160"])]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert words in error and "224" in error
