"""One step: losses, micro-batches, precision, averages; and what a run makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compofa.checkpoint import load_supernet
from compofa.data import load_data
from compofa.errors import InputError
from compofa.recipe import Recipe
from compofa.spaces.registry import GLYPHS
from compofa.supernet import Supernet
from compofa.training.average import WeightAverage
from compofa.training.plan import plan
from compofa.training.schedule import Schedule, learning_rate
from compofa.training.state import State
from compofa.training.step import make_optimizer, soft_cross_entropy
from compofa.training.trainer import Trainer
from compofa.training.validation import Validator


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", "train")


def quick(**changes) -> Recipe:
    """Three steps of eight images, from scratch."""
    small = {"batch_size": 8, "images_per_epoch": 8, "epoch_scale": 3 / 180, "dropout": 0.0}
    return replace(Recipe.load("digits-teacher"), **{**small, **changes})


def sandwich(**changes) -> Recipe:
    whole = Recipe.load("glyphs-sandwich")
    stage = replace(whole.stages[0], epochs=3, warmup_epochs=0)
    small = {"data": "digits", "batch_size": 8, "images_per_epoch": 8, "epoch_scale": 1.0, "stages": (stage,)}
    return replace(whole, **{**small, **changes})


def gradients(trainer: Trainer, step: int = 0) -> tuple[float, dict[str, torch.Tensor]]:
    draw = trainer.schedule.draw(0, step)
    pixels = trainer.data.pixels(draw.indices, draw.resolution, draw.augmenter)
    loss = trainer.stepper.gradients(draw, pixels)
    return loss, {name: p.grad for name, p in trainer.supernet.named_parameters()}


def test_without_momentum_there_is_no_nesterov():
    assert not make_optimizer(Supernet(GLYPHS), quick(momentum=0.0)).defaults["nesterov"]
    assert make_optimizer(Supernet(GLYPHS), quick()).defaults["nesterov"]


def test_warm_up_begins_where_it_is_told():
    rates = [learning_rate(1.0, step, 20, 4, start=0.2) for step in range(5)]
    assert rates == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0])


def test_extra_warm_up_makes_a_stage_longer():
    stage = replace(Recipe.load("digits-teacher").stages[0], warmup_epochs=60, base_lr=0.01, lr_images=4)
    within, on_top = (
        Schedule(quick(stages=(stage,), extra_warmup=extra), GLYPHS, 100) for extra in (False, True)
    )
    assert (within.steps(), on_top.steps()) == (3, 4)
    assert [within.lr(0, 0), on_top.lr(0, 0)] == pytest.approx([0.02, 0.02])
    assert [within.lr(0, 1), on_top.lr(0, 1)] == pytest.approx([0.02, 0.02])


def test_the_largest_of_a_sandwich_learns_from_labels_and_the_others_from_it(digits, tmp_path, monkeypatch):
    trainer = Trainer(sandwich(), digits, tmp_path)
    monkeypatch.setattr(Supernet, "train", lambda self, mode=True: nn.Module.train(self, False))
    draw = trainer.schedule.draw(0, 0)
    pixels = digits.pixels(draw.indices, draw.resolution, draw.augmenter)
    x, y = digits.standardise(pixels.images), pixels.labels
    found = trainer.stepper.gradients(draw, pixels)
    expected = [p.grad.clone() for p in trainer.supernet.parameters()]
    trainer.supernet.zero_grad(set_to_none=False)
    logits = [trainer.supernet(x, arch) for arch in draw.archs]
    losses = [F.cross_entropy(logits[0], y, label_smoothing=0.1)]
    losses += [soft_cross_entropy(other, logits[0].detach()) for other in logits[1:]]
    sum(losses).backward()
    assert found == pytest.approx(sum(losses).item() / 4, rel=1e-5)
    for parameter, wanted in zip(trainer.supernet.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-3, atol=1e-5)
    trainer.run()
    assert trainer.cost.teacher_passes == 0
    assert trainer.cost.subnet_passes == 4 * trainer.cost.images


def test_micro_batches_give_the_whole_batchs_gradient(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(Supernet, "train", lambda self, mode=True: nn.Module.train(self, False))
    loss, whole = gradients(Trainer(quick(), digits, tmp_path))
    seen = []
    original = Supernet.forward
    monkeypatch.setattr(
        Supernet, "forward", lambda self, x, arch: seen.append(len(x)) or original(self, x, arch)
    )
    parts_loss, parts = gradients(Trainer(quick(), digits, tmp_path, micro_batch=3))
    assert seen == [3, 3, 2]
    assert parts_loss == pytest.approx(loss, rel=1e-5)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5, msg=name)
    with pytest.raises(InputError, match="micro-batch of one image is too small"):
        Trainer(quick(), digits, tmp_path, micro_batch=1)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_losses_are_formed_in_single_precision_whatever_the_network_computes_in(
    digits, tmp_path, monkeypatch, amp
):
    kinds = []
    original = F.cross_entropy
    monkeypatch.setattr(F, "cross_entropy", lambda x, *a, **k: kinds.append(x.dtype) or original(x, *a, **k))
    inside = []
    forward = Supernet.forward

    def noting(self, x, arch):
        logits = forward(self, x, arch)
        inside.append(logits.dtype)
        return logits

    monkeypatch.setattr(Supernet, "forward", noting)
    trainer = Trainer(quick(), digits, tmp_path, amp=amp)
    assert trainer.run()
    assert set(kinds) == {torch.float32}
    assert set(inside) == {torch.bfloat16 if amp == "bf16" else torch.float16}
    assert load_supernet(tmp_path / "supernet.safetensors")[1]["precision"] == amp


def test_an_average_of_weights_is_kept():
    network = nn.BatchNorm1d(1)
    average = WeightAverage(network, 0.75)
    with torch.no_grad():
        network.weight.fill_(5.0)
        network.num_batches_tracked.fill_(9)
    average.update(network)
    assert average.state["weight"].item() == pytest.approx(0.75 * 1 + 0.25 * 5)
    assert average.state["num_batches_tracked"].item() == 9


def test_the_average_is_the_result(digits, tmp_path):
    plain = load_supernet(Trainer(quick(), digits, tmp_path / "plain").run())[0].state_dict()
    weights = []
    trainer = Trainer(quick(ema=0.5), digits, tmp_path / "ema")
    before = trainer.supernet.tail[2].conv.weight.detach().clone()
    trainer.run(lambda entry: weights.append(trainer.supernet.tail[2].conv.weight.detach().clone()))
    expected = before
    for weight in weights:
        expected = 0.5 * expected + 0.5 * weight
    found = load_supernet(tmp_path / "ema" / "supernet.safetensors")[0].state_dict()
    torch.testing.assert_close(found["tail.2.conv.weight"], expected)
    torch.testing.assert_close(plain["tail.2.conv.weight"], weights[-1], rtol=0, atol=0)


@pytest.mark.parametrize(
    "options",
    [
        {"recipe": quick(ema=0.9)},
        {"recipe": quick(), "amp": "fp16"},
        {"recipe": sandwich(), "micro_batch": 5},
    ],
    ids=["average", "fp16", "sandwich"],
)
def test_a_stopped_run_resumes_to_the_same_result(digits, tmp_path, options):
    recipe = options.pop("recipe")
    whole = load_supernet(Trainer(recipe, digits, tmp_path / "whole", **options).run())[0].state_dict()
    trainer = Trainer(recipe, digits, tmp_path / "run", **options)
    assert trainer.run(stop=lambda: trainer.steps_done() == 1) is None
    resumed = Trainer(recipe, digits, tmp_path / "run", **options)
    assert resumed.steps_done() == 2
    found = load_supernet(resumed.run())[0].state_dict()
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_a_run_that_is_done_leaves_its_result_alone(digits, tmp_path):
    """Its accuracies name the file by its hash, and the format orders its fields differently each time."""
    path = Trainer(quick(), digits, tmp_path).run()
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert Trainer(quick(), digits, tmp_path).run() == path
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    path.unlink()
    assert Trainer(quick(), digits, tmp_path).run() == path and path.exists()


def test_another_micro_batch_and_a_longer_warm_up_are_refused_on_resume(digits, tmp_path):
    Trainer(quick(), digits, tmp_path).save()
    with pytest.raises(InputError, match="micro batch: 0, not 4"):
        Trainer(quick(), digits, tmp_path, micro_batch=4)
    state = State.load(tmp_path)
    for name in ("extra_warmup", "least_area", "ema", "sync_bn", "aspect", "brightness", "saturation"):
        del state.identity["recipe"][name]  # as version 0.1.0 wrote it
    del state.identity["micro batch"]
    state.save(tmp_path)
    assert Trainer(quick(), digits, tmp_path).steps_done() == 0
    with pytest.raises(InputError, match=r"recipe\.extra_warmup: False, not True"):
        Trainer(quick(extra_warmup=True), digits, tmp_path)


# --- plan and validation ---


def test_a_plan_counts_what_the_run_then_takes(digits, tmp_path):
    stages = sandwich().stages
    recipe = sandwich(
        stages=(stages[0], replace(stages[0], name="again", sandwich=False, subnets_per_step=2)), distill=0
    )
    trainer = Trainer(recipe, digits, tmp_path)
    found = plan(trainer)
    assert not any(tmp_path.iterdir())
    assert [(s.name, s.steps, s.images, s.subnet_passes) for s in found.stages] == [
        ("sandwich", 3, 24, 96),
        ("again", 3, 24, 48),
    ]
    done = Trainer(recipe, digits, tmp_path)
    done.run()
    assert done.cost.subnet_passes == sum(s.subnet_passes for s in found.stages)
    for stage in found.stages:
        assert stage.hours_left == pytest.approx(3 * stage.step_s / 3600)
        assert 0 < stage.step_s < 60
    assert 5e7 < found.memory_bytes < 1e11
    assert (found.probe_images, found.images_at_once, found.resolution) == (8, 8, 24)
    assert [s.steps_left for s in plan(Trainer(recipe, digits, tmp_path)).stages] == [0, 0]


def test_a_plan_is_for_the_images_that_go_through_at_once(digits, tmp_path):
    recipe = quick(batch_size=64, images_per_epoch=64)
    for micro_batch, at_once in ((None, 64), (32, 32)):
        found = plan(Trainer(recipe, digits, tmp_path, micro_batch=micro_batch))
        assert (found.probe_images, found.images_at_once) == (16, at_once)


def test_validation_measures_and_disturbs_nothing(digits, tmp_path):
    test = load_data("digits", "test")
    recipe = sandwich()
    undisturbed = load_supernet(Trainer(recipe, digits, tmp_path / "a").run())[0].state_dict()
    logged = []
    trainer = Trainer(recipe, digits, tmp_path / "b")
    trainer.run(validate=Validator(test), validate_every=3, on_log=logged.append)
    found = load_supernet(tmp_path / "b" / "supernet.safetensors")[0].state_dict()
    assert all(torch.equal(found[name], undisturbed[name]) for name in undisturbed)
    measured = [entry for entry in logged if "accuracy" in entry]
    assert [(entry["step"], entry["images"]) for entry in measured] == [(2, 24)]
    for entry in measured:
        assert set(entry["accuracy"]) == {"smallest", "largest"}
        assert all(
            0 <= value <= 1 and (value * 360) == pytest.approx(round(value * 360))
            for value in entry["accuracy"].values()
        )


def test_validations_images_are_always_the_same():
    test = load_data("digits", "test")
    assert np.array_equal(Validator(test).test.chosen, Validator(test).test.chosen)
