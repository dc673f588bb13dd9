import contextlib
import errno
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from compofa.checkpoint import load_supernet, save_supernet
from compofa.data import ArrayData, load_data
from compofa.errors import InputError, RunFailed
from compofa.evaluate import Evaluator
from compofa.files import FileBusy
from compofa.recipe import Recipe
from compofa.spaces.arch import extreme
from compofa.spaces.space import get_space
from compofa.training.schedule import learning_rate, stage_steps
from compofa.training.state import LOG_FILE, STATE_FILE, State
from compofa.training.trainer import Trainer
from compofa.world import World


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


def test_learning_rate_warms_up_and_ends_near_zero():
    rates = [learning_rate(1.0, step, 100, 10) for step in range(100)]
    assert rates[:10] == [pytest.approx((s + 1) / 10) for s in range(10)]
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.001


def test_counts_are_of_images_that_were_there(digits, tmp_path):
    """Fewer images than a batch holds: a step reads all of them, once."""
    few = ArrayData("few", digits.images[:16], digits.labels[:16], digits.class_names, digits.margin)
    recipe = replace(Recipe.load("digits-teacher"), epoch_scale=0.05)
    trainer = Trainer(recipe, few, tmp_path)
    trainer.run()
    assert trainer.cost.images == 16 * trainer.total_steps()
    assert Evaluator(trainer.supernet, few, few).calibration.size == 16


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
        assert trainer.steps_done() == stop < total
        resumed = Trainer(recipe, digits, out, teacher)
        assert resumed.steps_done() == stop
        result = load_supernet(resumed.run())[0].state_dict()
        assert resumed.cost.images == whole.cost.images
        assert all(torch.equal(result[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: run.update(recipe=replace(run["recipe"], seed=1)), "recipe.seed: 0, not 1"),
        (
            lambda run: run.update(recipe=replace(run["recipe"], stages=run["recipe"].stages[:1])),
            "stages: 2, not 1",
        ),
        (lambda run: run.update(amp="bf16"), "precision: fp32, not bf16"),
        (lambda run: run.update(world=World(0, 2)), "processes: 1, not 2"),
        (lambda run: run.update(data=renamed(run["data"])), "data: digits-train, not others"),
    ],
)
def test_a_folder_of_another_run_is_refused(recipe, digits, teacher, tmp_path, change, words):
    run = {"recipe": recipe, "data": digits, "out": tmp_path, "teacher": teacher}
    Trainer(**run).save()
    change(run)
    with pytest.raises(InputError, match=re.escape(words)):
        Trainer(**run)


def renamed(data):
    return ArrayData("others", data.images, data.labels, data.class_names, data.margin)


def test_another_teacher_is_refused_on_resume(recipe, digits, teacher, tmp_path):
    other = tmp_path / "other.safetensors"
    save_supernet(load_supernet(teacher)[0], other, {"another": "provenance"})
    Trainer(recipe, digits, tmp_path / "run", teacher).save()
    with pytest.raises(InputError, match=r"teacher: .*, not"):
        Trainer(recipe, digits, tmp_path / "run", other)


def test_a_teacher_is_needed_and_must_fit(recipe, digits, teacher, tmp_path):
    with pytest.raises(InputError, match="--teacher"):
        Trainer(recipe, digits, tmp_path)
    with pytest.raises(InputError, match=r"of glyphs, not of imagenet-w1\.0"):
        Trainer(replace(recipe, family="imagenet-w1.0"), digits, tmp_path, teacher)
    swapped = ArrayData("d", digits.images, digits.labels, [*digits.class_names[:9], "nine"], 4)
    with pytest.raises(InputError, match="lacks the class '9'"):
        Trainer(recipe, swapped, tmp_path, teacher)
    fewer = ArrayData("d", digits.images, digits.labels % 9, digits.class_names[:9], 4)
    with pytest.raises(InputError, match="tells 10 classes apart, digits has 9"):
        Trainer(recipe, fewer, tmp_path, teacher)


def test_a_published_supernet_teaches(recipe, digits, teacher, tmp_path, published_names):
    net = load_supernet(teacher)[0]
    torch.save({"state_dict": published_names(net)}, tmp_path / "t.pth")
    trainer = Trainer(recipe, digits, tmp_path / "run", tmp_path / "t.pth")
    expected = net.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in trainer.supernet.state_dict().items())


def test_more_processes_than_a_batch_can_feed_are_refused(digits, tmp_path):
    with pytest.raises(InputError, match="a batch of 64 images is too small for 33 processes"):
        Trainer(Recipe.load("digits-teacher"), digits, tmp_path, world=World(0, 33))


# --- what goes wrong on the way ---


class Spoiled(ArrayData):
    """Images that are not finite from the given batch on."""

    def __init__(self, data, good):
        super().__init__(data.name, data.images, data.labels, data.class_names, data.margin)
        self.good = good

    def pixels(self, *arguments):
        found = super().pixels(*arguments)
        self.good -= 1
        return found if self.good >= 0 else found._replace(images=found.images * float("nan"))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(digits, tmp_path):
    recipe = replace(Recipe.load("digits-teacher"), epoch_scale=0.003)
    with pytest.raises(
        RunFailed, match="loss is nan at step 0 of stage teacher; no checkpoint had been written"
    ):
        Trainer(recipe, Spoiled(digits, 0), tmp_path / "at-once").run()
    trainer = Trainer(recipe, Spoiled(digits, 4), tmp_path / "run", checkpoint_every_s=0.0)
    with pytest.raises(RunFailed, match=r"nan at step 4 of stage teacher; .*state\.pt keeps the last good"):
        trainer.run()
    assert not (tmp_path / "run" / "supernet.safetensors").exists()
    whole = load_supernet(Trainer(recipe, digits, tmp_path / "whole").run())[0].state_dict()
    resumed = Trainer(recipe, digits, tmp_path / "run")
    assert resumed.steps_done() == 4
    result = load_supernet(resumed.run())[0].state_dict()
    assert all(torch.equal(result[name], whole[name]) for name in whole)


def test_weights_that_are_not_finite_are_never_saved(digits, tmp_path):
    trainer = Trainer(replace(Recipe.load("digits-teacher"), epoch_scale=0.003), digits, tmp_path)
    trainer.save()
    before = (tmp_path / STATE_FILE).read_bytes()
    with torch.no_grad():
        trainer.supernet.tail[0].conv.weight[0, 0] = math.inf
    with pytest.raises(RunFailed, match=r"diverged: tail\.0\.conv\.weight is not finite"):
        trainer.save()
    assert (tmp_path / STATE_FILE).read_bytes() == before


def test_a_full_disk_leaves_the_checkpoint_of_before(digits, tmp_path, monkeypatch):
    recipe = replace(Recipe.load("digits-teacher"), epoch_scale=0.003)
    trainer = Trainer(recipe, digits, tmp_path)
    trainer.save()
    before = (tmp_path / STATE_FILE).read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("compofa.files.atomic.os.fsync", full)
        trainer.progress.step = 2
        with pytest.raises(OSError, match=r"No space left on device: .*state\.pt"):
            trainer.save()
    assert (tmp_path / STATE_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]
    assert Trainer(recipe, digits, tmp_path).steps_done() == 0


def test_damage_to_a_checkpoint_is_seen(recipe, digits, teacher, tmp_path):
    Trainer(recipe, digits, tmp_path, teacher).save()
    path = tmp_path / STATE_FILE
    content = path.read_bytes()
    expected = load_supernet(teacher)[0].state_dict()
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content) // 10, 9 * len(content) // 10, 10):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):  # else it was between two records, where nothing is
            state = State.load(tmp_path).supernet
            assert all(torch.equal(state[name], expected[name]) for name in expected)
    for damaged in (b"", content[:1000], content[:-10]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"state\.pt"):
            Trainer(recipe, digits, tmp_path, teacher)
    for broken in ({"x": 1}, [1], {"identity": "x"}, {"supernet": {"x": 1}}):
        torch.save(broken, path)
        with pytest.raises(InputError, match="no checkpoint that can be resumed"):
            Trainer(recipe, digits, tmp_path, teacher)


def test_a_flipped_bit_of_a_weight_is_seen(recipe, digits, teacher, tmp_path):
    trainer = Trainer(recipe, digits, tmp_path, teacher)
    trainer.save()
    path = tmp_path / STATE_FILE
    content = bytearray(path.read_bytes())
    content[content.index(trainer.supernet.tail[2].conv.weight.detach().numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Trainer(recipe, digits, tmp_path, teacher)


def test_two_do_not_train_in_one_folder(digits, tmp_path):
    recipe = replace(Recipe.load("digits-teacher"), epoch_scale=0.003)

    def another(entry):
        with pytest.raises(FileBusy):
            Trainer(recipe, digits, tmp_path).run()
        raise StopIteration

    with pytest.raises(StopIteration):
        Trainer(recipe, digits, tmp_path).run(another)


def test_the_log_holds_every_step_once_whatever_was_torn(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("compofa.training.trainer.LOG_EVERY", 2)
    recipe = replace(Recipe.load("digits-teacher"), epoch_scale=0.003)
    whole = Trainer(recipe, digits, tmp_path / "whole")
    whole.run()
    trainer = Trainer(recipe, digits, tmp_path / "killed")
    steps = 0

    def stop_and_go_on_in_the_log():
        nonlocal steps
        steps += 1
        return steps == 5

    assert trainer.run(stop=stop_and_go_on_in_the_log) is None
    log = tmp_path / "killed" / LOG_FILE
    log.write_bytes(log.read_bytes() + b'{"stage": "teacher", "step": 6, "images": 99999}\n{"stage": "tea')
    Trainer(recipe, digits, tmp_path / "killed").run()
    logged = [
        [(entry["step"], entry["loss"]) for entry in map(json.loads, (tmp_path / name / LOG_FILE).open())]
        for name in ("killed", "whole")
    ]
    assert logged[0] == logged[1]
    assert [step for step, _ in logged[0]] == [*range(0, whole.total_steps() - 1, 2), whole.total_steps() - 1]


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
