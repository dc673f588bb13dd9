import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from compofa.arch import extreme
from compofa.checkpoint import load_supernet
from compofa.data import load_data
from compofa.evaluate import Evaluator
from compofa.recipe import RECIPES, Recipe
from compofa.spaces import get_space
from compofa.training.state import LOG_FILE, STATE_FILE
from compofa.training.trainer import Trainer, learning_rate, stage_steps


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", "train")


@pytest.fixture(scope="module")
def teacher(digits, tmp_path_factory):
    """A few steps of the digits teacher."""
    recipe = replace(Recipe.load("digits-teacher"), epoch_scale=0.003)
    return Trainer(recipe, digits, tmp_path_factory.mktemp("teacher")).run()


@pytest.fixture
def recipe():
    """Two stages of a few steps, distilled."""
    return replace(Recipe.load("digits-compofa"), epoch_scale=0.003)


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_load(name):
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert (recipe.distill == 0) == name.endswith("teacher")


def test_published_schedules():
    """Epochs x subnets per step of FACTS and papers: the costs' published ratio."""
    passes = {
        name: sum(stage.epochs * stage.subnets_per_step for stage in Recipe.load(f"imagenet-{name}").stages)
        for name in ("teacher", "ofa", "compofa")
    }
    assert passes == {"teacher": 180, "ofa": 120 + 2 * 145 + 4 * 145, "compofa": 4 * 145}
    scales = {Recipe.load(f"glyphs-{name}").epoch_scale for name in passes}
    assert len(scales) == 1
    for name in passes:
        small, full = (Recipe.load(f"{task}-{name}").stages for task in ("glyphs", "imagenet"))
        assert [replace(stage, base_lr=0.0) for stage in small] == [
            replace(stage, base_lr=0.0) for stage in full
        ]


def test_stages_open_the_space_step_by_step():
    from compofa.families import GLYPHS

    kernel, depth_1, *_, width_2 = Recipe.load("glyphs-ofa").stages
    assert kernel.subspace(GLYPHS).size() == 3**20
    assert depth_1.subspace(GLYPHS).size() == (3**3 + 3**4) ** 5
    assert width_2.subspace(GLYPHS).size() == get_space("ofa", GLYPHS).size()
    for stage in Recipe.load("glyphs-compofa").stages:
        assert stage.subspace(GLYPHS).size() == 243


def test_learning_rate_warms_up_and_ends_near_zero():
    rates = [learning_rate(1.0, step, 100, 10) for step in range(100)]
    assert rates[:10] == [pytest.approx((s + 1) / 10) for s in range(10)]
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.001


def test_costs_are_counted(recipe, digits, teacher, tmp_path):
    trainer = Trainer(recipe, digits, tmp_path, teacher)
    steps = sum(stage_steps(recipe, stage, len(digits))[0] for stage in recipe.stages)
    assert trainer.total_steps() == steps
    trainer.run()
    assert trainer.cost.images == steps * recipe.batch_size
    assert trainer.cost.subnet_passes == 4 * trainer.cost.images
    assert trainer.cost.teacher_passes == trainer.cost.images
    assert trainer.cost.cpu_s > 0
    entries = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    assert {entry["stage"] for entry in entries} == {"compound-1", "compound-2"}
    assert all(math.isfinite(entry["loss"]) for entry in entries)


def test_a_stopped_run_resumes_to_the_same_result(recipe, digits, teacher, tmp_path):
    whole = Trainer(recipe, digits, tmp_path / "whole", teacher)
    total = whole.total_steps()
    expected = load_supernet(whole.run())[0].state_dict()
    for stop in (1, total // 2, total - 1):
        out = tmp_path / str(stop)
        trainer = Trainer(recipe, digits, out, teacher)
        seen = 0

        def stop_there(entry, stop=stop):
            nonlocal seen
            seen += 1
            if seen == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            trainer.run(stop_there)
        trainer.save()
        resumed = Trainer(recipe, digits, out, teacher)
        assert resumed.steps_done() == stop
        result = load_supernet(resumed.run())[0].state_dict()
        assert resumed.cost.images == whole.cost.images
        assert all(torch.equal(result[name], expected[name]) for name in expected)


def test_a_folder_of_another_run_is_refused(recipe, digits, teacher, tmp_path):
    Trainer(recipe, digits, tmp_path, teacher).save()
    with pytest.raises(ValueError, match="another recipe"):
        Trainer(replace(recipe, seed=1), digits, tmp_path, teacher)


def test_a_teacher_is_needed_and_must_fit(recipe, digits, teacher, tmp_path):
    with pytest.raises(ValueError, match="--teacher"):
        Trainer(recipe, digits, tmp_path)
    with pytest.raises(ValueError, match="10 classes"):
        Trainer(replace(recipe, family="imagenet-w1.0"), digits, tmp_path, teacher)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("family = 'glyphs'", "required positional argument"),
        ("family = 'x'\ndata = 'digits'\nbatch_size = 1", "unknown family"),
        ("family = 'glyphs'\ndata = 'digits'\nbatch_size = 1", "stages"),
        ("family = 'glyphs'\ndata = 'digits'\nbatch_size = 1\n[[stage]]\nlr = 1", "a stage has no lr"),
        ("= 3", "Invalid"),
    ],
)
def test_a_broken_recipe_is_refused(tmp_path, text, message):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        Recipe.load(str(tmp_path / "r.toml"))


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(ValueError, match="glyphs-ofa"):
        Recipe.load("imagenet")


@pytest.mark.slow
def test_training_learns_and_distils(digits, tmp_path):
    """From the teacher to CompOFA on digits: far above chance for the smallest and the largest subnet."""
    torch.manual_seed(0)
    train = Recipe.load("digits-teacher")
    path = Trainer(train, digits, tmp_path / "t").run()
    recipe = Recipe.load("digits-compofa")
    net, _ = load_supernet(Trainer(recipe, digits, tmp_path / "c", path).run())
    test = load_data("digits", "test")
    evaluator = Evaluator(net, digits, test)
    archs = list(get_space("compofa", net.family).enumerate([24]))
    for arch in (archs[0], archs[-1]):
        assert evaluator.correct(arch) / len(test) > 0.6
    assert evaluator.correct(extreme(net.family, largest=False, resolution=16)) > 0


@pytest.mark.slow
def test_torchrun_trains_on_two_processes(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += ["-m", "hwbench.train", "--recipe", "digits-teacher", "--epoch-scale", "0.002", "--json"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path), "--threads", "1"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] > 0
    assert (tmp_path / STATE_FILE).exists()
