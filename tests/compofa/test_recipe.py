"""Recipes: the published schedules as data, and what is wrong with a broken one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compofa.errors import InputError
from compofa.recipe import RECIPES, Recipe
from compofa.spaces.arch import extreme
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import get_space
from compofa.training.schedule import Schedule, stage_steps


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_load(name):
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.distils != name.endswith(("teacher", "sandwich", "digits-proxyless", "digits-resnet"))


def test_published_schedules():
    """Epochs x subnets per step of FACTS and papers: the costs' published ratio."""
    passes = {
        name: sum(stage.epochs * stage.subnets_per_step for stage in Recipe.load(f"imagenet-{name}").stages)
        for name in ("teacher", "ofa", "compofa")
    }
    assert passes == {"teacher": 180, "ofa": 120 + 2 * 145 + 4 * 145, "compofa": 4 * 145}
    scales = {Recipe.load(f"glyphs-{name}").epoch_scale for name in passes}
    assert len(scales) == 1


@pytest.mark.parametrize("name", ["ofa", "compofa", "compofa-elastic"])
def test_the_small_recipes_are_the_published_ones_but_for_rates_and_warm_up(name):
    small, full = (
        [
            replace(stage, base_lr=0.0, lr_images=1, sort_hidden=False)
            for stage in Recipe.load(f"{task}-{name}").stages
        ]
        for task in ("glyphs", "imagenet")
    )
    assert small == full


def test_the_published_recipes_follow_the_reference():
    """Read off `train_ofa_net.py` of both projects: warm-up on top of the epochs, from the rate of one process's batch
    (64 images for OFA, 256 for CompOFA), channels sorted before each of CompOFA's stages, no warm-up of the teacher."""
    images = 1_281_167
    for name, epochs, per_process in (
        ("ofa", [125, 25, 125, 25, 125], 64),
        ("compofa", [25, 125], 256),
        ("compofa-elastic", [25, 125], 256),
        ("teacher", [180], 2048),
    ):
        recipe = Recipe.load(f"imagenet-{name}")
        schedule = Schedule(recipe, get_family(recipe.family), images)
        for number, (stage, wanted) in enumerate(zip(recipe.stages, epochs, strict=True)):
            steps, warmup = stage_steps(recipe, stage, images)
            assert steps == pytest.approx(wanted * images / 2048, abs=1)
            assert stage.lr_images == per_process
            if warmup:
                rates = [schedule.lr(number, step) for step in (0, warmup - 1, warmup)]
                assert rates[0] == pytest.approx(stage.base_lr, rel=0.02)
                assert rates[1] == rates[2] == pytest.approx(stage.base_lr * 2048 / per_process)
        assert (recipe.least_area, recipe.aspect) == (0.08, pytest.approx(4 / 3))
        assert (recipe.brightness, recipe.saturation) == (pytest.approx(32 / 255), 0.5)
    assert [stage.sort_hidden for stage in Recipe.load("imagenet-compofa").stages] == [True, True]
    assert [stage.sort_hidden for stage in Recipe.load("imagenet-ofa").stages] == [False] * 3 + [True] * 2
    peaks = [stage.base_lr * 2048 / stage.lr_images for stage in Recipe.load("imagenet-compofa").stages]
    assert peaks == pytest.approx([0.08, 0.24])


def test_a_sandwich_is_the_largest_the_smallest_and_random_ones():
    (stage,) = Recipe.load("glyphs-sandwich").stages
    archs = stage.draw_archs(GLYPHS, np.random.default_rng(0), 20)
    assert archs[:2] == (extreme(GLYPHS, True, 20), extreme(GLYPHS, False, 20))
    assert len(set(archs)) == stage.subnets_per_step == 4
    assert all(get_space("ofa", GLYPHS).contains(arch) and arch.resolution == 20 for arch in archs)
    with pytest.raises(InputError, match="lacks the largest and the smallest"):
        replace(stage, space="compofa").check(GLYPHS)
    with pytest.raises(InputError, match="two or more"):
        replace(stage, subnets_per_step=1).check(GLYPHS)


def test_stages_open_the_space_step_by_step():
    kernel, depth_1, *_, width_2 = Recipe.load("glyphs-ofa").stages
    assert kernel.subspace(GLYPHS).size() == 3**20
    assert depth_1.subspace(GLYPHS).size() == (3**3 + 3**4) ** 5
    assert width_2.subspace(GLYPHS).size() == get_space("ofa", GLYPHS).size()
    for stage in Recipe.load("glyphs-compofa").stages:
        assert stage.subspace(GLYPHS).size() == 243


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(InputError, match="glyphs-ofa"):
        Recipe.load("imagenet")


HEAD = "family = 'glyphs'\ndata = 'digits'\nbatch_size = 4\n"
STAGE = """[[stage]]
name = "one"
epochs = 1
base_lr = 0.1
lr_images = 64
warmup_epochs = 0
subnets_per_step = 1
depths = [4]
expands = [6]
kernels = [7]
"""


def written(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_recipe_of_ones_own_is_read(tmp_path):
    recipe = Recipe.load(written(tmp_path, HEAD + STAGE))
    assert (recipe.name, recipe.batch_size, recipe.stages[0].depths) == ("r", 4, (4,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("family = 'glyphs'", "the recipe lacks data, batch_size"),
        (HEAD.replace("glyphs", "x"), "unknown family 'x'"),
        (HEAD, "has no stages"),
        (HEAD + "[[stage]]\nlr = 1", "stage 1 has no lr; it has base_lr, depths"),
        (HEAD + "[[stage]]\nname = 'a'", "stage 1 lacks epochs, base_lr"),
        (HEAD + "learning_rate = 1\n" + STAGE, "the recipe has no learning_rate; it has aspect, batch_size"),
        (HEAD + "name = 'x'\n" + STAGE, "the recipe has no name"),
        (HEAD + "stage = 3", "stage must be a list of tables"),
        (HEAD + "stage = [1]", "stage must be a list of tables"),
        (HEAD + STAGE + STAGE, "two stages have the same name"),
        ("= 3", "not TOML"),
        (b"\xff\xfe", "not text in UTF-8"),
        ("x = " + "[" * 5000, "not TOML"),
        *[
            (HEAD.replace("batch_size = 4", f"batch_size = {value}") + STAGE, f"batch_size is {shown}")
            for value, shown in (
                ("0", "0"),
                ("-1", "-1"),
                ("2.5", "2.5"),
                ("'4'", "'4'"),
                ("1" + "0" * 30, "1000"),
            )
        ],
        *[
            (HEAD + f"{key} = {value}\n" + STAGE, f"{key} is {shown}, not {words}")
            for key, value, shown, words in (
                ("momentum", "nan", "nan", "0 to 1e9"),
                ("momentum", "1.0", "1.0", "below 1"),
                ("dropout", "-0.1", "-0.1", "0 to 1e9"),
                ("distill", "inf", "inf", "0 to 1e9"),
                ("seed", "1.5", "1.5", "a whole number"),
                ("seed", "-1", "-1", "0 to 1e9"),
                ("epoch_scale", "0", "0", "above 0"),
                ("kernel_transform", "1", "1", "true or false"),
                ("weight_decay", "'x'", "'x'", "a number"),
                ("weight_decay", "true", "True", "a number"),
            )
        ],
        *[
            (HEAD + STAGE.replace(old, new), f"stage one: {message}")
            for old, new, message in (
                ("epochs = 1\n", "epochs = 1\nsandwich = 1\n", "sandwich is 1, not true or false"),
                ("depths = [4]", "depths = []", r"depths is \[\], not some of \[2, 3, 4\]"),
                ("depths = [4]", "depths = [5]", r"depths is \[5\], not some of"),
                ("depths = [4]", "depths = 4", "depths is 4, not a list"),
                ("kernels = [7]", "kernels = ['7']", "kernels is .*, not a list of whole numbers"),
                ("expands = [6]", "expands = [[6]]", "expands is .*, not a list of numbers"),
                ("epochs = 1\n", "epochs = 0\n", "epochs is 0, not above 0"),
                ("epochs = 1\n", "epochs = 1e300\n", "epochs is 1e.300, not above 0 to 1e9"),
                ("base_lr = 0.1", "base_lr = nan", "base_lr is nan"),
                ("kernels = [7]", "kernels = [7]\nkeep_expands = [5]", "keep_expands is"),
            )
        ],
        (HEAD + STAGE + "space = 'nas'", "unknown space 'nas'"),
    ],
)
def test_a_broken_recipe_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        Recipe.load(written(tmp_path, text))
    assert "r.toml" in str(caught.value)
