"""Recipes: the published schedules as data, and what is wrong with a broken one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compofa.errors import InputError
from compofa.recipe import RECIPES, Recipe
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space


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
        (HEAD + "learning_rate = 1\n" + STAGE, "the recipe has no learning_rate; it has batch_size"),
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
