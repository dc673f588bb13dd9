"""What comes with the package is what the documents say, and can be measured again."""

import hashlib

import numpy as np
import pytest

from compofa.accuracy import Accuracies
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.checkpoint import load_supernet
from compofa.errors import InputError
from compofa.evaluate import make_evaluator
from compofa.recipe import Recipe
from compofa.spaces.arch import extreme
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import shipped
from lut.calibration import Calibration, calibration_path
from lut.scores import scores
from lut.table import Table

RECIPES = ("ofa", "compofa")
COMPOFA = get_space("compofa", GLYPHS)


def accuracies(recipe):
    return Accuracies.load(shipped.artefact(f"glyphs-{recipe}.accuracy.jsonl"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_compofa_subnet_was_measured_in_both_supernets(recipe):
    table = accuracies(recipe)
    assert set(COMPOFA.enumerate()) <= set(table.correct)
    assert table.header.images >= 2000
    assert table.header.supernet == f"glyphs-{recipe}"


def test_1500_random_ofa_subnets_were_measured():
    outside = [arch for arch in accuracies("ofa").correct if not COMPOFA.contains(arch)]
    assert len(outside) >= 1500
    assert {arch.resolution for arch in outside} == set(GLYPHS.resolutions)


@pytest.mark.parametrize("recipe", RECIPES)
def test_accuracies_are_of_the_shipped_supernets(recipe):
    path = shipped.supernet("glyphs", recipe)
    assert accuracies(recipe).header.supernet_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("recipe", RECIPES)
def test_supernets_were_trained_by_the_shipped_recipes(recipe):
    net, provenance = load_supernet(shipped.supernet("glyphs", recipe))
    trained = provenance["recipe"]
    now = Recipe.load(f"glyphs-{recipe}")
    assert net.family == GLYPHS
    assert trained["epoch_scale"] == now.epoch_scale
    assert [stage["epochs"] for stage in trained["stages"]] == [stage.epochs for stage in now.stages]
    assert [stage["base_lr"] for stage in trained["stages"]] == [stage.base_lr for stage in now.stages]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_few_subnets_measured_again_give_the_shipped_accuracies(recipe):
    table = accuracies(recipe)
    evaluator = make_evaluator(shipped.supernet("glyphs", recipe), "glyphs")
    assert len(evaluator.test) == table.header.images
    rng = np.random.default_rng(0)
    archs = list(table.correct)
    for index in rng.choice(len(archs), 3, replace=False):
        # a few images lie so close to the border that another processor's rounding moves them
        assert abs(evaluator.correct(archs[index]) - table.correct[archs[index]]) <= 5


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_largest_subnet_beats_the_smallest_by_5_points_and_that_beats_chance(recipe):
    table = accuracies(recipe)
    # of CompOFA's space, where both supernets have every subnet
    archs = list(COMPOFA.enumerate([GLYPHS.resolutions[0]]))
    smallest = table.accuracy(archs[0])
    largest = max(table.accuracy(arch) for arch in COMPOFA.enumerate([GLYPHS.resolutions[-1]]))
    assert largest >= smallest + 0.05
    assert smallest > 5 / GLYPHS.classes


def test_the_predictor_ranks_measured_subnets():
    from scipy.stats import spearmanr

    table = accuracies("ofa")
    predictor = AccuracyPredictor.load(shipped.predictor("glyphs"))
    genotypes, accuracy = table.arrays()
    assert spearmanr(predictor.predict(genotypes), accuracy).statistic > 0.9
    assert predictor.report["held_out"]["subnets"] == 1600
    assert predictor.report["held_out"]["mae"] < 0.0045


def test_the_predictor_knows_how_sure_it_is_and_is_of_all_that_was_measured():
    """Its rows are the shipped accuracies and those of subnets that searches picked."""
    predictor = AccuracyPredictor.load(shipped.predictor("glyphs"))
    picked = Accuracies.load(shipped.artefact("glyphs-ofa.picked.accuracy.jsonl"))
    assert not picked.header.differences(accuracies("ofa").header)
    assert predictor.report["subnets"] == len({*picked.correct, *accuracies("ofa").correct})
    genotypes, accuracy = picked.arrays()
    low, high = predictor.interval(genotypes, 0.9)
    assert np.mean((low <= accuracy) & (accuracy <= high)) > 0.9
    assert 87 < predictor.report["intervals"]["coverage_90_pct"] < 93


@pytest.mark.parametrize("batch", [1, 64])
def test_the_tables_of_a_gpu_are_whole_and_met_the_targets(batch: int) -> None:
    table = Table.load(shipped.reference_table(f"h100-fp16-b{batch}"))
    assert set(table.entries) == set(get_space("ofa", table.family).all_blocks(table.header.resolutions))
    calibration = Calibration.load(calibration_path(shipped.reference_table(f"h100-fp16-b{batch}")), table)
    found = scores(calibration.measured_ms, calibration.held_out_ms)
    assert len(calibration.archs) == 60 and calibration.distrust is None
    assert found["mape_pct"] <= 2 and found["within_5_pct"] >= 99 and found["spearman"] >= 0.99


def test_a_table_that_is_not_shipped_is_told_from_those_that_are() -> None:
    with pytest.raises(
        InputError, match=r"no reference table is called 'a100'; there are glyphs, h100-fp16-b1"
    ):
        shipped.reference_table("a100")


def test_the_reference_table_is_whole_and_calibrated():
    path = shipped.reference_table("glyphs")
    table = Table.load(path)
    assert not table.missing(get_space("ofa", GLYPHS))
    calibration = Calibration.load(calibration_path(path), table)
    error = np.abs(calibration.held_out_ms / calibration.measured_ms - 1)
    assert len(error) >= 40
    assert error.mean() < 0.05
    assert table.latency_ms(get_space("ofa", GLYPHS).blocks(extreme(GLYPHS, largest=True))) > 0


@pytest.mark.parametrize(
    "call", [lambda: shipped.supernet("imagenet-w1.0", "ofa"), lambda: shipped.artefact("x")]
)
def test_what_is_not_shipped_is_said(call):
    with pytest.raises(ValueError, match="does not ship"):
        call()


def test_no_accuracies_of_imagenet_are_pretended():
    with pytest.raises(ValueError, match="--accuracy FILE"):
        shipped.accuracies("imagenet-w1.0", "ofa")
