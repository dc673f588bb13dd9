"""What people see of training: progress, curves, and the table of the papers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import curves, papers_table, reproduce, train

from compofa.errors import InputError, Unavailable
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import cli
from hwbench.frontiers.cloud import Cloud
from hwbench.training_progress import ImageRate, duration, training_progress


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_counts_time_and_images_from_where_this_run_began(capsys):
    """A resumed run: 900 of 1,000 steps were taken before, and 57,600 images read."""
    clock = Clock()
    with cli.showing(), training_progress("training x", 1000, 900, clock) as advance:
        for step in range(1, 13):
            clock.now += 2.0
            advance({"images": 57_600 + 64 * step, "loss": 1.5})
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "training x 905/1000, loss 1.500, 32 images/s, 3 min left",
        "training x 910/1000, loss 1.500, 32 images/s, 3 min left",
    ]


def test_images_a_second_do_not_count_the_first_step():
    clock = Clock()
    rate = ImageRate(clock)
    clock.now = 100.0
    rate.note({"images": 64})
    assert rate.per_s == 0
    clock.now = 101.0
    rate.note({"images": 128})
    assert rate.per_s == 64


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.4, "3 s"), (99, "99 s"), (150, "2 min"), (3600 * 3 + 1234, "3 h 21 min")]
)
def test_durations_are_said_to_two_places(seconds, words):
    assert duration(seconds) == words


# --- curves ---

ENTRY = {"stage": "one", "step": 0, "lr": 0.1, "loss": 2.0, "images": 64}


def write_log(path: Path, *entries: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"stage": "tor')
    return path


def test_curves_are_drawn_of_what_there_is(tmp_path):
    validated = {"stage": "one", "step": 1, "images": 128, "accuracy": {"smallest": 0.1, "largest": 0.2}}
    entries = curves.read_log(write_log(tmp_path / "log", ENTRY, {**ENTRY, "images": 128}, validated))
    assert len(entries) == 3
    curves.draw_curves(tmp_path / "all.svg", entries, "a run")
    text = (tmp_path / "all.svg").read_text()
    curves.draw_curves(tmp_path / "loss.svg", entries[:2], "a run")
    fewer = (tmp_path / "loss.svg").read_text()
    assert text.count('id="axes_') == 3 and fewer.count('id="axes_') == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "nothing has been trained"), ("x\n", "line 1: no entry"), ('{"step": 1}\n', "line 1: no entry")],
)
def test_what_is_no_log_is_refused(tmp_path, content, words):
    (tmp_path / "log").write_text(content)
    with pytest.raises(InputError, match=words):
        curves.read_log(tmp_path / "log")


def test_tensorboard_is_asked_for_before_it_is_missed(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(Unavailable, match="pip install tensorboard"):
        curves.TensorBoard(tmp_path)


def test_a_plan_and_curves_on_the_command_line(tmp_path, capsys):
    run = [
        "--recipe",
        "digits-teacher",
        "--out",
        str(tmp_path / "run"),
        "--epoch-scale",
        "0.0005",
        "--threads",
        "1",
    ]
    assert train.main([*run, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["stages"][0]["steps_left"] == found["stages"][0]["steps"] == 2
    assert found["origin"] == "predicted" and found["hours_left"] > 0
    assert not (tmp_path / "run").exists()
    assert train.main([*run, "--seed", "3", "--plot", str(tmp_path / "curves.svg")]) == 0
    assert (tmp_path / "curves.svg").read_text().count('id="axes_') == 2
    assert train.main([*run, "--seed", "3", "--dry-run", "--plot", "x.png"]) == 2
    assert "--plot has no effect beside --dry-run" in capsys.readouterr().err
    assert train.main([*run, "--device", "cuda:99"]) == 3


# --- the papers' table ---


def runs_of(seed: int, shift: float) -> list[papers_table.Run]:
    """Four methods of two subnets each."""
    archs = list(get_space("compofa", GLYPHS).enumerate([16]))[:2]
    genotypes = encode(GLYPHS, archs)
    return [
        papers_table.Run(
            method,
            seed,
            1000.0 * (n + 1) + shift,
            5 * n,
            Cloud(GLYPHS, genotypes, np.array([1.0, 2.0]), np.array([0.5, 0.6 + n / 100]) + shift / 1000),
            0.4,
            0.5,
        )
        for n, method in enumerate(papers_table.METHODS)
    ]


def test_the_table_holds_means_spreads_and_one_reference_for_all_hypervolumes(capsys):
    rows = papers_table.rows_of([*runs_of(0, 0.0), *runs_of(1, 10.0)])
    # the reference is (2 ms, 0.5): only the faster subnet, 1 ms before it, counts
    assert [row.hypervolume for row in rows] == pytest.approx([0.0] * 4 + [0.01] * 4)
    document = papers_table.describe(rows, papers_table.FULL, Path("t.jsonl"))
    json.dumps(document, allow_nan=False)
    ofa, compofa = document["methods"][:2]
    assert ofa["processor_s"] == {"mean": 1005.0, "sd": pytest.approx(50**0.5)}
    assert compofa["accuracy"]["mean"] == pytest.approx(0.56)
    papers_table.show(document)
    shown = capsys.readouterr()
    for words in ("1005 +- 7", "measured over 3 seeds", "for OFA, on ImageNet: 978.3 GPU hours"):
        assert words in shown.out
    assert "say anything" not in shown.err
    with cli.showing():
        papers_table.show(papers_table.describe(rows[:4], papers_table.FAST, Path("t.jsonl")))
    assert "too little training" in capsys.readouterr().err
    assert papers_table.spread([1.0])["sd"] is None


def test_recipes_of_the_table_are_the_shipped_ones_with_another_seed_and_length():
    found = reproduce.recipe("glyphs-ofa", 2, papers_table.FAST)
    assert (found.seed, found.epoch_scale) == (2, pytest.approx(0.0005))
    assert reproduce.recipe("glyphs-ofa", 0, papers_table.FULL).epoch_scale == 0.05


def test_every_part_of_the_table_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        reproduce, "FAST", papers_table.Setting(share=0.0005, subnets=2, seeds=1, data="digits")
    )
    assert reproduce.main(["--out", str(tmp_path), "--fast", "--workers", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in document["rows"]] == [method.name for method in papers_table.METHODS]
    assert all(row["search_s"] > 0 and 0 <= row["accuracy"] <= 1 for row in document["rows"])
    assert document == json.loads((tmp_path / "reproduce.json").read_text())
