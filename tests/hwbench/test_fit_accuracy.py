"""``hwbench fit --accuracy``: a predictor from one's own measurements, and what is wrong with some of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import fit, search

from compofa.accuracy.predictor import AccuracyPredictor
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.measured_accuracies import load_measured

SPACE = get_space("ofa", GLYPHS)
ARCHS = [SPACE.sample(np.random.default_rng(seed), 32) for seed in range(90)]
ACCURACY = 0.5 + 0.3 * encode(GLYPHS, ARCHS)[:, 1:].mean(1) / 9


def write(path: Path, header: str, *rows: tuple) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measured") / "mine.csv"
    return write(path, "arch,accuracy", *zip(ARCHS, (100 * ACCURACY).round(3), strict=True))


def test_a_predictor_of_ones_own(measured: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "own.predictor.safetensors"
    given = ["--accuracy", str(measured), "--family", "glyphs", "--wanted-error", "2", "--out", str(out)]
    assert fit.main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["subnets"], found["resolutions"], found["origin"]) == (90, [32], "predicted")
    assert found["fewest_subnets"] == 50 and not found["fewest_is_extrapolated"]
    assert [point["subnets"] for point in found["learning_curve"]] == [50, 72]
    predictor = AccuracyPredictor.load(out)
    assert 100 * predictor.mae == pytest.approx(found["mae_points"])
    error = 100 * np.abs(predictor.predict(encode(GLYPHS, ARCHS)) - ACCURACY)
    assert error.mean() < found["mae_points"] < 100 * ACCURACY.std()
    table = ["--lut", str(shipped.reference_table("glyphs")), "--latency-ms", "0.3"]
    assert search.main([*table, "--accuracy", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy_is"] == "predicted"


def test_people_are_told_the_same(measured: Path, tmp_path: Path, capsys) -> None:
    given = [
        "--accuracy",
        str(measured),
        "--wanted-error",
        "0.000001",
        "--out",
        str(tmp_path / "p.safetensors"),
    ]
    assert fit.main(given) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("on unseen subnets", "nominal 90 % holds", "1e-06 points are not reached", "Spearman"):
        assert words in shown, words


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        ("arch,accuracy", [(0.7,), (0.71,), (72,)], "line 4: accuracy is 72, that of most other rows from 0.7 to 0.71"),
        ("arch,accuracy", [(70,), (71,), (0.72,)], "line 4: accuracy is 0.72, that of most other rows from 70 to 71"),
        ("arch,accuracy", [(0.7,), (1.2,), (0.6,)], "line 3: accuracy is 1.2, that of most other"),
        ("arch,accuracy", [(70,), (101,)], "line 3: accuracy is '101', not a fraction"),
        ("arch,accuracy", [(0.7,), ("NaN",)], "line 3: accuracy is 'NaN', not a fraction"),
        ("arch,accuracy,standard_error", [(0.7, 0.01), (0.7, -1)], "line 3: standard_error is '-1', not a standard"),
        ("arch,accuracy,standard_error", [(0.7, "nan")], "line 2: standard_error is 'nan'"),
        ("arch,accuracy,images", [(0.7, 100), (0.7, 0)], "line 3: images is '0', not how many images"),
        ("arch,accuracy,images,standard_error", [(0.7, 1, 1)], "columns standard_error and images: leave out one"),
        ("arch,accuracy", [(0.7,)] * 49, "needs 50 measured subnets or more"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(tmp_path: Path, capsys, header, rows, words) -> None:
    path = write(tmp_path / "bad.csv", header, *((a, *r) for a, r in zip(ARCHS, rows, strict=False)))
    assert fit.main(["--accuracy", str(path), "--out", str(tmp_path / "p.safetensors")]) == 2
    shown = capsys.readouterr().err
    assert words in shown and "bad.csv" in shown and shown.count("\n") == 1
    assert not (tmp_path / "p.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: "r30" + str(a)[3:], "line 2: family glyphs has no resolution 30"),
        (lambda a: str(a).replace("k3", "k9").replace("k5", "k9").replace("k7", "k9"), "line 2:"),
    ],
    ids=["resolution", "kernel"],
)
def test_subnets_outside_the_family_are_refused(tmp_path: Path, capsys, change, words) -> None:
    path = write(tmp_path / "bad.csv", "arch,accuracy", (change(ARCHS[0]), 0.7))
    assert fit.main(["--accuracy", str(path), "--out", str(tmp_path / "p.safetensors")]) == 2
    assert words in capsys.readouterr().err


def test_two_accuracies_of_one_subnet_contradict_each_other(tmp_path: Path, capsys) -> None:
    path = write(tmp_path / "bad.csv", "arch,accuracy", (ARCHS[0], 0.7), (ARCHS[1], 0.6), (ARCHS[0], 0.71))
    assert fit.main(["--accuracy", str(path), "--out", str(tmp_path / "p.safetensors")]) == 2
    assert "line 4: the subnet stands there with another accuracy already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--accuracy", "a.csv", "--samples", "10"], "--samples has no effect beside --accuracy"),
        (["--measured", "m.csv"], "--measured needs --column NAME"),
        (
            ["--measured", "m.csv", "--column", "ms", "--wanted-error", "1"],
            "--wanted-error has no effect beside --measured",
        ),
        (["--measured", "m.csv", "--accuracy", "a.csv"], "not allowed with"),
        ([], "one of the arguments --measured --accuracy is required"),
    ],
)
def test_latencies_and_accuracies_are_not_mixed_up(tmp_path: Path, capsys, arguments, words) -> None:
    try:
        code = fit.main([*arguments, "--out", str(tmp_path / "p")])
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "rows", "error", "images"),
    [
        ("arch,accuracy,standard_error", [(70, 0.5), (60, 1.0)], [0.005, 0.01], None),
        ("arch,accuracy,standard_error", [(0.7, 0.01), (0.6, 0.01)], None, None),  # all the same
        ("arch,accuracy,images", [(0.5, 98), (0.5, 398)], [0.5 / 98**0.5, 0.5 / 398**0.5], None),
        ("arch,accuracy,images", [(0.5, 98), (0.6, 98)], None, 98),
        ("arch,accuracy", [(0.5,), (0.6,)], None, None),
    ],
)
def test_how_well_each_is_known(tmp_path: Path, header, rows, error, images) -> None:
    path = write(tmp_path / "a.csv", header, *((a, *r) for a, r in zip(ARCHS, rows, strict=False)))
    found = load_measured(path, GLYPHS)
    assert found.origin.images == images
    if error is None:
        assert found.standard_error is None
    else:
        np.testing.assert_allclose(found.standard_error, error)
