"""`hwbench train` and `hwbench evaluate`, for real on digits."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import evaluate, specialize, train
from PIL import Image
from safetensors.torch import load_file

from compofa.accuracy import Accuracies
from compofa.checkpoint import open_supernet, save_supernet
from compofa.errors import InputError
from compofa.glyphs import CLASSES as GLYPH_CLASSES
from compofa.spaces.arch import Arch
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from compofa.stopping import SIGNALS
from compofa.supernet import Supernet
from compofa.supernet import supernet as supernet_module
from compofa.training.state import State
from compofa.training.trainer import Trainer
from hwbench import evaluating, training_runs

QUICK = ["--epoch-scale", "0.002", "--threads", "1", "--json"]


@pytest.fixture(scope="module")
def supernet(tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher")
    assert train.main(["--recipe", "digits-teacher", "--out", str(out), *QUICK]) == 0
    return out / "supernet.safetensors"


def test_train_reports_its_cost_and_is_done_the_second_time(supernet, capsys):
    arguments = ["--recipe", "digits-teacher", "--out", str(supernet.parent), *QUICK]
    assert train.main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["supernet"] == str(supernet)
    assert summary["subnet_passes"] == summary["images"] == 64 * summary["steps"]


def test_the_same_in_python_says_nothing(supernet, tmp_path, capfd):
    again = training_runs.train("digits-teacher", out=supernet.parent, epoch_scale=0.002)
    assert again.path == supernet and again.summary["images"] == again.cost.images == 64 * again.steps
    archs = [Arch.parse(arch) for arch in ARCHS]
    found = evaluating.evaluate(supernet, archs, space="ofa", workers=1)
    kept = evaluating.evaluate(supernet, archs[::-1], space="ofa", workers=1, out=tmp_path / "a.jsonl")
    assert found.archs == tuple(archs) and found.values == kept.values[::-1]
    assert Accuracies.load(tmp_path / "a.jsonl").correct == found.accuracies.correct
    assert all(0 < value < 1 for value in found.values)
    assert evaluating.evaluate(supernet, [*archs, archs[0]], space="ofa", workers=1).archs == found.archs
    with pytest.raises(InputError, match="does not follow the rule of space compofa"):
        evaluating.evaluate(supernet, archs, space="compofa", workers=1)
    with pytest.raises(InputError, match="no subnet was evaluated"):
        _ = evaluating.evaluate(supernet, [], workers=1).summary
    assert capfd.readouterr() == ("", "")


def test_train_distils_from_a_teacher(supernet, tmp_path, capsys):
    arguments = ["--recipe", "digits-compofa", "--teacher", str(supernet), "--out", str(tmp_path), *QUICK]
    assert train.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["teacher_passes"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "resnet", "--out", "x"], "unknown recipe 'resnet'; there are glyphs-teacher"),
        (["--recipe", "digits-compofa", "--out", "x"], "give one with --teacher FILE"),
        (["--recipe", "digits-teacher", "--out", "x", "--data", "mnist"], "unknown data 'mnist'"),
        (["--recipe", "digits-compofa", "--out", "x", "--teacher", "none"], "none"),
        (["--out", "x"], "--recipe"),
    ],
)
def test_train_refuses_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def in_the_middle_of_step(step, numbers, monkeypatch):
    """Send this process the signals while it takes that step: the gradients are there, the weights are half updated."""
    original, taken = Trainer._update, 0

    def update(self, lr):
        nonlocal taken
        taken += 1
        if taken == step:
            for number in numbers:
                os.kill(os.getpid(), number)
        original(self, lr)

    monkeypatch.setattr(Trainer, "_update", update)


@pytest.mark.parametrize(
    ("numbers", "code"),
    [([signal.SIGINT], 130), ([signal.SIGINT] * 3, 130), ([signal.SIGTERM], 143), ([signal.SIGHUP], 129)],
)
def test_a_signal_stops_training_between_two_steps(supernet, tmp_path, monkeypatch, capfd, numbers, code):
    arguments = ["--recipe", "digits-teacher", "--out", str(tmp_path), *QUICK]
    with monkeypatch.context() as patch:
        in_the_middle_of_step(2, numbers, patch)
        assert train.main(arguments) == code
    for number in SIGNALS:  # a process that was told to end is deaf; this one goes on
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    error = capfd.readouterr().err
    assert "stopping at the end of a step, with a checkpoint" in error
    assert "holds a checkpoint; the same command goes on from there" in error
    state = State.load(tmp_path)
    # processes agree before they update: a signal that comes later lets one more step pass
    assert (state.progress.stage, state.progress.step) == (0, 3)
    assert state.optimizer["state"]
    assert not (tmp_path / "supernet.safetensors").exists()
    assert train.main(arguments) == 0
    assert same_weights(tmp_path / "supernet.safetensors", supernet)


def same_weights(*paths):
    one, other = (load_file(path) for path in paths)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_signal_while_channels_are_sorted_breaks_nothing(supernet, tmp_path, monkeypatch):
    original, seen = supernet_module.sort_channels, 0

    def sort(place, keep=()):
        nonlocal seen
        seen += 1
        if seen == 7:
            os.kill(os.getpid(), signal.SIGINT)
        original(place, keep)

    arguments = ["--recipe", "digits-compofa", "--teacher", str(supernet), *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(supernet_module, "sort_channels", sort)
        assert train.main([*arguments, "--out", str(tmp_path / "stopped")]) == 130
    assert State.load(tmp_path / "stopped").progress.step == 1
    for name in ("stopped", "whole"):
        assert train.main([*arguments, "--out", str(tmp_path / name)]) == 0
    assert same_weights(*(tmp_path / name / "supernet.safetensors" for name in ("stopped", "whole")))


def test_a_signal_that_is_ignored_stays_so(supernet, tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "SIGHUP", signal.SIGUSR1)
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        in_the_middle_of_step(1, [signal.SIGUSR1], monkeypatch)
        assert train.main(["--recipe", "digits-teacher", "--out", str(tmp_path), *QUICK]) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_evaluate_measures_and_goes_on(supernet, tmp_path, capsys):
    out = tmp_path / "a.jsonl"
    arguments = [
        "--supernet",
        str(supernet),
        "--data",
        "digits",
        "--workers",
        "1",
        "--out",
        str(out),
        "--json",
    ]
    assert evaluate.main([*arguments, "--space", "ofa", "--sample", "2"]) == 0
    first = Accuracies.load(out).correct
    assert evaluate.main([*arguments, "--space", "ofa", "--sample", "3"]) == 0
    summary = json.loads(capsys.readouterr().out.split("\n}\n")[1] + "\n}")
    both = Accuracies.load(out)
    assert len(both.correct) == summary["subnets"] == 3
    assert first.items() <= both.correct.items()
    assert summary["images"] == 360
    assert 0 <= summary["lowest"] <= summary["mean"] <= summary["highest"] <= 1


ARCHS = ["r16-k3e3_k3e3-k5e3_k5e3-k3e3_k3e3-k3e3_k3e3-k5e3_k5e3", "r16-" + "-".join(["k7e6_k7e6"] * 5)]


@pytest.mark.parametrize("text", ["\n".join(ARCHS), "space,arch\n" + "\n".join(f"ofa,{a}" for a in ARCHS)])
def test_evaluate_takes_a_list_of_subnets(tmp_path, text):
    space = get_space("ofa", GLYPHS)
    (tmp_path / "archs").write_text(text + "\n\n" + text.splitlines()[-1])
    assert evaluate.read_archs(tmp_path / "archs", space) == [Arch.parse(arch) for arch in ARCHS]
    for broken, message in (("", "no subnets"), ("r16-x", "line 1"), (f"{ARCHS[0]}\nr17-k3e3", "line 2")):
        (tmp_path / "archs").write_text(broken)
        with pytest.raises(ValueError, match=message):
            evaluate.read_archs(tmp_path / "archs", space)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--space", "ofa"], "say how many with --sample"),
        (["--space", "nas"], "unknown space 'nas'"),
        (["--space", "compofa", "--sample", "9999"], "only 1215 subnets"),
        (["--data", "glyphs2"], "unknown data"),
    ],
)
def test_evaluate_refuses_in_one_line(supernet, tmp_path, capsys, extra, message, instead):
    arguments = ["--supernet", str(supernet), "--data", "digits", "--out", str(tmp_path / "a.jsonl")]
    assert evaluate.main(instead(arguments, extra)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a.jsonl").exists()


def test_evaluate_refuses_what_is_no_supernet(tmp_path, capsys):
    (tmp_path / "x").write_text("hello")
    assert evaluate.main(["--supernet", str(tmp_path / "x"), "--out", str(tmp_path / "a.jsonl")]) == 2
    assert "not a supernet" in capsys.readouterr().err


def make_folder(path, **splits):
    """Four images in each class folder of each split."""
    for split, names in splits.items():
        for n, name in enumerate(names):
            (path / split / name).mkdir(parents=True)
            for i in range(4):
                pixels = np.random.default_rng([n, i]).integers(0, 255, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path / split / name / f"{i}.png")
    return path


def untrained(path, names, **provenance):
    """A supernet that tells the classes apart that are named."""
    torch.manual_seed(0)
    net = Supernet(replace(GLYPHS, classes=len(names)))
    save_supernet(net, path, {"recipe": {"name": "mine"}, "class_names": list(names), **provenance})
    return path


def test_of_ones_own_images_from_training_to_accuracies(tmp_path, monkeypatch, capsys):
    """The data set of `evaluate` is the supernet's own, from whatever folder it is called."""
    make_folder(tmp_path / "mine", train=["cat", "dog"], val=["cat", "dog"])
    monkeypatch.chdir(tmp_path)
    arguments = ["--recipe", "digits-teacher", "--data", "imagefolder:mine", "--out", "run"]
    assert train.main([*arguments, "--epoch-scale", "0.01", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["images"] == 8 * summary["steps"]
    identity = open_supernet(tmp_path / "run" / "supernet.safetensors")[1]
    assert (identity.class_names, identity.data, identity.precision) == (
        ("cat", "dog"),
        "imagefolder:mine/train",
        "fp32",
    )

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    command = [
        "--supernet",
        "../run/supernet.safetensors",
        "--space",
        "ofa",
        "--out",
        "a.jsonl",
        "--workers",
        "1",
    ]
    assert evaluate.main([*command, "--sample", "1"]) == 0
    table = Accuracies.load(Path("a.jsonl"))
    assert (table.header.images, table.header.calibration_images, table.header.classes) == (8, 8, 2)
    assert table.header.supernet_sha256 == identity.sha256
    assert "8 images of imagefolder:mine/val" in capsys.readouterr().out

    (tmp_path / "mine").rename(tmp_path / "moved")
    assert evaluate.main([*command, "--sample", "2"]) == 2
    assert "which is not there: say where it is with --data imagefolder:PATH" in capsys.readouterr().err
    shutil.move(tmp_path / "moved", tmp_path / "new" / "mine")
    assert evaluate.main([*command, "--sample", "2", "--data", "imagefolder:../new/mine"]) == 0
    assert len(Accuracies.load(Path("a.jsonl")).correct) == 2


@pytest.mark.parametrize(
    ("val", "message"),
    [
        (["dog", "kitten"], "val lacks the class 'cat' and has the class 'kitten'"),
        (["cat"], "val lacks the class 'dog'"),
        (["cat", "dog", "owl"], "val has the class 'owl'"),
        (["cat", "dog", ".ipynb_checkpoints"], ".ipynb_checkpoints is no class"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "specialize"])
def test_a_test_split_of_other_classes_is_refused_before_anything_runs(
    tmp_path, capsys, command, val, message
):
    data = make_folder(tmp_path / "data", train=["cat", "dog"], val=val)
    path = untrained(tmp_path / "s.safetensors", ["cat", "dog"])
    base = ["--supernet", str(path), "--data", f"imagefolder:{data}", "--out", str(tmp_path / "out")]
    extra = {
        "evaluate": ["--space", "ofa", "--sample", "1"],
        "specialize": ["--arch", ARCHS[0], "--no-latency"],
    }
    main = {"evaluate": evaluate.main, "specialize": specialize.main}[command]
    assert main([*base, *extra[command]]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").is_file()


def test_classes_of_another_supernet_are_refused(tmp_path, capsys):
    data = make_folder(tmp_path / "data", train=["cat", "dog"], val=["cat", "dog"])
    for names, message in ((["cat", "owl"], "lacks the class 'owl'"), (["a", "b", "c"], "lacks 3 classes")):
        path = untrained(tmp_path / "s.safetensors", names)
        base = ["--supernet", str(path), "--data", f"imagefolder:{data}", "--out", str(tmp_path / "a.jsonl")]
        assert evaluate.main([*base, "--space", "ofa", "--sample", "1"]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "a.jsonl").exists()


def test_training_with_a_hidden_folder_is_refused(tmp_path, capsys):
    data = make_folder(tmp_path / "data", train=["cat", "dog", "__MACOSX"])
    arguments = [
        "--recipe",
        "digits-teacher",
        "--data",
        f"imagefolder:{data}",
        "--out",
        str(tmp_path / "run"),
    ]
    assert train.main(arguments) == 2
    assert "__MACOSX is no class of images: remove it" in capsys.readouterr().err


def test_digits_are_no_test_of_62_classes_and_the_right_command_then_works(tmp_path, capsys):
    """The failed command leaves no file that blocks the right one."""
    path = untrained(tmp_path / "s.safetensors", "0123456789", data_source="digits")
    other = untrained(tmp_path / "o.safetensors", GLYPH_CLASSES)
    out = ["--space", "ofa", "--sample", "1", "--workers", "1", "--out", str(tmp_path / "a.jsonl")]
    assert evaluate.main(["--supernet", str(other), "--data", "digits", *out]) == 2
    assert "tells 62 classes apart, digits has 10" in capsys.readouterr().err
    assert evaluate.main(["--supernet", str(path), *out]) == 0
    assert Accuracies.load(tmp_path / "a.jsonl").header.data == "digits-test"


def test_a_published_supernet_is_evaluated_and_specialised(tmp_path, capsys, published_names):
    """With the same result as the same weights in our own file."""
    path = untrained(tmp_path / "s.safetensors", "0123456789", data_source="digits")
    net = open_supernet(path)[0]
    state = {f"module.{name}": value for name, value in published_names(net).items()}
    torch.save({"state_dict": state}, tmp_path / "published")
    base = ["--space", "ofa", "--sample", "1", "--workers", "1", "--data", "digits"]
    assert evaluate.main(["--supernet", str(path), *base, "--out", str(tmp_path / "a")]) == 0
    published = ["--supernet", str(tmp_path / "published"), "--family", "glyphs"]
    assert evaluate.main([*published, *base, "--out", str(tmp_path / "b")]) == 0
    ours, theirs = (Accuracies.load(tmp_path / name) for name in "ab")
    assert ours.correct == theirs.correct
    assert theirs.header.supernet == "published"
    extra = ["--data", "digits", "--arch", ARCHS[0], "--no-latency", "--out", str(tmp_path / "out"), "--json"]
    capsys.readouterr()
    assert specialize.main([*published, *extra]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["classes"] == 10
    assert card["class_names"] == list("0123456789")
    assert evaluate.main([*published[:2], *base, "--out", str(tmp_path / "c")]) == 2
    assert "say of which family: --family" in capsys.readouterr().err
