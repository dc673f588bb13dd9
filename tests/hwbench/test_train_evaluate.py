"""`hwbench train` and `hwbench evaluate`, for real on digits."""

import json

import pytest

from compofa.accuracy import Accuracies
from compofa.arch import Arch
from compofa.families import GLYPHS
from compofa.spaces import get_space
from hwbench import evaluate, train

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
def test_evaluate_refuses_in_one_line(supernet, tmp_path, capsys, extra, message):
    arguments = ["--supernet", str(supernet), "--data", "digits", "--out", str(tmp_path / "a.jsonl")]
    assert evaluate.main([*arguments, *extra]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a.jsonl").exists()


def test_evaluate_refuses_what_is_no_supernet(tmp_path, capsys):
    (tmp_path / "x").write_text("hello")
    assert evaluate.main(["--supernet", str(tmp_path / "x"), "--out", str(tmp_path / "a.jsonl")]) == 2
    assert "not a supernet" in capsys.readouterr().err
