"""`hwbench search --measure`, for real on digits with a supernet that was never trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import search

from backends.base import Measurement, Target
from compofa.accuracy import Accuracies
from compofa.checkpoint import save_supernet
from compofa.data import load_data
from compofa.evaluate import Evaluator
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from compofa.supernet import Supernet
from hwbench import shipped
from lut import store
from lut.header import Header

OFA = get_space("ofa", GLYPHS)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """A modelled table of one resolution, a supernet of digits, and made-up accuracies of 60 of its subnets."""
    folder = tmp_path_factory.mktemp("measure")
    with store.Writer(
        folder / "t.jsonl", Header(Target("none", "d"), "glyphs", "ofa", (16,), "2026")
    ) as writer:
        blocks = [block for block in OFA.all_blocks() if block.in_shape[1] <= 16]
        writer.append(
            (b, Measurement("modelled", ms := 0.01 + b.macs / 1e6, ms, ms, cycles=1)) for b in blocks
        )
    torch.manual_seed(0)
    names = load_data("digits", "train").class_names
    net = Supernet(replace(GLYPHS, classes=len(names)))
    provenance = {"recipe": {"name": "mine"}, "class_names": list(names), "data_source": "digits"}
    save_supernet(net, folder / "net.safetensors", provenance)
    rng = np.random.default_rng(0)
    archs = [OFA.sample(rng, 16) for _ in range(60)]
    rows = "".join(f"{arch},{0.5 + len(str(arch)) / 1000}\n" for arch in archs)
    (folder / "before.csv").write_text("arch,accuracy\n" + rows)
    names_of = {"lut": "t.jsonl", "supernet": "net.safetensors", "accuracy": "before.csv"}
    return {name: str(folder / file) for name, file in names_of.items()}


def arguments(files: dict[str, str], measured: Path, count: int) -> list[str]:
    given = [part for name, value in files.items() for part in (f"--{name}", value)]
    return [*given, "--measure", str(count), "--measured", str(measured), "--workers", "1"]


def test_it_measures_answers_with_what_was_measured_and_goes_on(files, tmp_path, capsys, monkeypatch) -> None:
    file, original, calls = tmp_path / "m.accuracy.jsonl", Evaluator.correct_each, []

    def interrupted(self, archs):
        calls.append(archs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, archs)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "correct_each", interrupted)
        assert search.main(arguments(files, file, 3)) == 130
    assert "keeps what was measured" in capsys.readouterr().err
    kept = Accuracies.load(file).correct
    assert len(kept) == 1

    assert search.main([*arguments(files, file, 3), "--latency-ms", "9", "--json"]) == 0
    printed = capsys.readouterr()
    assert "has 1 subnets already: 2 more" in printed.err
    document, now = json.loads(printed.out), Accuracies.load(file)
    assert len(now.correct) == 3 and kept.items() <= now.correct.items()
    spent, header = document["measuring"], now.header
    assert (spent["subnets"], spent["subnets_now"], spent["known_before"]) == (3, 2, 60)
    assert spent["images"] == 3 * (header.images + header.calibration_images)
    assert document["accuracy_is"] == "measured" and header.supernet == "mine"
    # An untrained supernet is worse than what was made up, of which the best is the answer.
    known = dict(line.split(",") for line in Path(files["accuracy"]).read_text().splitlines()[1:])
    assert document["results"][0]["accuracy"] == pytest.approx(max(map(float, known.values())))
    assert {row["arch"] for row in document["frontier"]} <= {*known, *map(str, now.correct)}

    # All that was asked for is there: nothing is measured, and people are told what it took.
    assert search.main(arguments(files, file, 3)) == 0
    told = capsys.readouterr().out
    assert "3 subnets (0 of them now, beside 60 known before)" in told
    assert f"{spent['images']:,} images" in told and "expected to raise" in told
    assert len(Accuracies.load(file).correct) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": str(shipped.predictor("glyphs"))}, "holds no measured accuracies"),
        (
            {"accuracy": str(shipped.accuracies("glyphs", "ofa"))},
            "cannot be joined with what is measured now",
        ),
        ({"supernet": "nothing.safetensors"}, "nothing.safetensors"),
    ],
)
def test_what_does_not_belong_together_is_refused(files, tmp_path, capsys, changes, message) -> None:
    assert search.main(arguments({**files, **changes}, tmp_path / "m.jsonl", 3)) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1] and error.count("error:") == 1
    assert not (tmp_path / "m.jsonl").exists()


def test_options_that_need_it_are_refused_without(files, capsys) -> None:
    assert search.main(["--lut", files["lut"], "--supernet", files["supernet"]]) == 2
    assert "--supernet has no effect without --measure" in capsys.readouterr().err


def test_a_family_without_a_shipped_supernet_needs_one(capsys) -> None:
    assert search.main(["--family", "imagenet-w1.0", "--cost", "macs", "--measure", "60"]) == 2
    assert "say in which to measure with --supernet FILE" in capsys.readouterr().err
