"""From a CSV of measurements to latencies with bounds, by the two commands; bad input is one line."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from commands import fit, predict

from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut.predictors.subnets import subnet_rows
from lut.subnets_csv import subnet_columns, write_csv

SHARED = Path(os.environ.get("HWBENCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
HELP = SHARED / "help_ofa_mbv3_train.csv"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 subnets of glyphs and a made-up latency of each, with 2 % noise."""
    rng, space = np.random.default_rng(0), get_space("ofa", GLYPHS)
    genotypes = encode(GLYPHS, [space.sample(rng) for _ in range(150)])
    latency = (0.1 + subnet_rows(GLYPHS, genotypes).prior) * rng.normal(1, 0.02, 150)
    path = tmp_path_factory.mktemp("measured") / "s.csv"
    write_csv(path, *subnet_columns(GLYPHS, genotypes), {"cpu_ms": latency})
    return path


def run_fit(measured: Path, out: Path, *arguments: str) -> int:
    given = {"--measured": str(measured), "--column": "cpu_ms", "--out": str(out)}
    kept = (part for option in given.items() if option[0] not in arguments for part in option)
    return fit.main([*kept, *arguments])


@pytest.fixture(scope="module")
def model(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.json"
    assert run_fit(measured, path, "--model", "additive", "--samples", "100") == 0
    return path


def test_auto_says_what_it_chose_and_how_good_it_is(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_fit(measured, tmp_path / "m.json", "--samples", "60", "--json") == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert (document["samples"], document["held_out"]["subnets"], document["rows"]) == (60, 90, 150)
    assert document["origin"] == "predicted"
    assert sum(document["weights"].values()) == pytest.approx(1)
    assert document["candidates"]["gp"]["mape_pct"] > 0
    for scores in (document["held_out"], document["cross_validated"]):
        assert scores["mape_pct"] < 5 and 70 < scores["coverage_pct"] <= 100
    assert "gp: " in shown.err and "Warning" not in shown.err


def test_people_see_the_candidates_the_choice_and_the_interval(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_fit(measured, tmp_path / "m.json", "--model", "ridge", "--samples", "100") == 0
    shown = capsys.readouterr().out
    for part in (
        "chosen    ridge",
        "nominal 90 % holds",
        "chosen, on 50 other rows",
        "cross-validated on 100",
    ):
        assert part in shown


def test_predictions_stand_beside_the_rows(model: Path, measured: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    assert predict.main(["--model", str(model), "--subnets", str(measured), "--out", str(out)]) == 0
    before, after = (list(csv.DictReader(path.open())) for path in (measured, out))
    assert [{key: row[key] for key in old} for old, row in zip(before, after, strict=True)] == before
    cells = np.array(
        [[float(row[key]) for key in ("low_ms", "predicted_ms", "high_ms", "cpu_ms")] for row in after]
    )
    low, predicted, high, truth = cells.T
    assert (low < predicted).all() and (predicted < high).all()
    assert np.abs(predicted / truth - 1).mean() < 0.05
    assert 0.8 < ((low <= truth) & (truth <= high)).mean() < 0.98


def test_without_a_file_the_rows_go_to_stdout(
    model: Path, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main(["--model", str(model), "--subnets", str(measured), "--coverage", "0.5"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 151
    assert shown.out.splitlines()[0].endswith(",cpu_ms,predicted_ms,low_ms,high_ms")
    assert "predicted by 1.0 additive, fitted on 100 measured subnets" in shown.err


def test_the_summary_says_what_the_numbers_are(
    model: Path, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model", str(model), "--subnets", str(measured), "--out", str(tmp_path / "o.csv"), "--json"]
    assert predict.main(given) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["column"], document["origin"], document["fitted_on"]) == ("cpu_ms", "predicted", 100)


def edit(measured: Path, path: Path, line: int, column: str, value: str) -> Path:
    rows = list(csv.DictReader(measured.open()))
    rows[line - 2][column] = value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("line", "column", "value", "says"),
    [
        (7, "cpu_ms", "nan", "line 7: cpu_ms is 'nan', not a positive number of milliseconds (1 of 150 rows"),
        (7, "cpu_ms", "-0.3", "line 7: cpu_ms is '-0.3', not a positive"),
        (9, "r", "224", "line 9: r is '224'; glyphs has 16, 20, 24, 28, 32"),
        (9, "d2", "1", "line 9: d2 is '1'; glyphs has 2, 3, 4"),
    ],
)
def test_a_bad_row_is_one_line_and_no_model(
    measured: Path,
    tmp_path: Path,
    line: int,
    column: str,
    value: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = edit(measured, tmp_path / "bad.csv", line, column, value)
    assert run_fit(bad, tmp_path / "m.json") == 2
    shown = capsys.readouterr()
    assert says in shown.err and shown.err.count("\n") == 1 and shown.out == ""
    assert not (tmp_path / "m.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "gnn"], "unknown model 'gnn'; there are auto, additive"),
        (["--samples", "151"], "--samples 151, but only 150 distinct subnets were measured"),
        (["--samples", "7"], "additive: needs 9 measured rows or more, not 7"),
        (["--model", "mlp", "--samples", "20"], "mlp: needs 34 measured rows or more, not 20"),
        (["--column", "gpu_ms"], "has no column 'gpu_ms' of latencies; it has cpu_ms"),
        (["--family", "imagenet-w1.0"], "imagenet-w1.0 has 128, 132"),
        (["--out", "/nowhere/m.json"], "cannot write /nowhere/m.json"),
        (["--measured", "/nowhere/s.csv"], "/nowhere/s.csv: No such file"),
    ],
)
def test_bad_arguments_are_one_line(
    measured: Path, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_fit(measured, tmp_path / "m.json", *arguments) == 2
    shown = capsys.readouterr()
    assert says in shown.err and shown.err.count("\n") == 1


def scaled(measured: Path, path: Path, factor: float) -> Path:
    rows = list(csv.reader(measured.open()))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        writer.writerows([*row[:-1], repr(float(row[-1]) * factor)] for row in rows[1:])
    return path


@pytest.mark.parametrize(("factor", "unit"), [(1e3, "microseconds"), (1e-3, "seconds"), (1, None)])
def test_odd_units_are_warned_of(
    measured: Path, tmp_path: Path, factor: float, unit: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_fit(scaled(measured, tmp_path / "s.csv", factor), tmp_path / "m.json", "--model", "additive") == 0
    )
    shown = capsys.readouterr().err
    assert ("warning: cpu_ms: the latencies are" in shown) == (unit is not None)
    assert unit is None or f"are they {unit}?" in shown


def test_repeated_subnets_are_said_and_merged(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = measured.read_text().splitlines()
    twice = tmp_path / "twice.csv"
    twice.write_text("\n".join([*lines, *lines[1:11]]) + "\n")
    assert run_fit(twice, tmp_path / "m.json", "--model", "additive", "--json") == 0
    shown = capsys.readouterr()
    assert "10 rows repeat a subnet" in shown.err
    assert json.loads(shown.out)["samples"] == 150


def test_predict_refuses_what_it_cannot_do(
    model: Path, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.csv"
    assert predict.main(["--model", str(model), "--subnets", str(measured), "--out", str(out)]) == 0
    capsys.readouterr()
    for given, says in (
        (["--subnets", str(out)], "has a column predicted_ms already"),
        (["--subnets", str(measured), "--json"], "give --out FILE.csv"),
        (["--subnets", str(measured), "--coverage", "1.5"], "not a number between 0 and 1"),
        (
            ["--subnets", str(measured), "--coverage", "0.999"],
            "100 measured rows promise no coverage above 0.990",
        ),
        (["--subnets", str(measured), "--model", str(measured)], "not JSON"),
        (["--subnets", str(model)], "line 1: not a subnet"),
    ):
        of_model = [] if "--model" in given else ["--model", str(model)]
        assert predict.main([*of_model, *given]) == 2
        shown = capsys.readouterr().err
        assert says in shown and shown.count("\n") == 1, shown


def test_resolutions_that_were_not_measured_are_warned_of(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(csv.reader(measured.open()))
    some = tmp_path / "some.csv"
    with some.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *(row for row in rows[1:] if row[0] != "32")])
    assert run_fit(some, tmp_path / "m.json", "--model", "additive") == 0
    assert predict.main(["--model", str(tmp_path / "m.json"), "--subnets", str(measured)]) == 0
    assert "warning: nothing was measured at 32 px" in capsys.readouterr().err


@pytest.mark.skipif(not HELP.is_file(), reason=f"no published measurements in {SHARED}")
@pytest.mark.parametrize(
    ("column", "mape", "within_10"), [("titan_rtx_64", 1.0, 99.5), ("v100_32", 4.0, 90.1)]
)
def test_published_gpu_latencies_from_100_samples(
    tmp_path: Path, column: str, mape: float, within_10: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best of five kinds of models, picked on their test rows, had 2.3 and 4.5 %."""
    given = ["--measured", str(HELP), "--column", column, "--family", "imagenet-w1.2", "--samples", "100"]
    assert fit.main([*given, "--model", "roofline-gp", "--out", str(tmp_path / "m.json"), "--json"]) == 0
    held_out = json.loads(capsys.readouterr().out)["held_out"]
    assert held_out["subnets"] == 2400
    assert held_out["mape_pct"] < mape
    assert held_out["within_10_pct"] >= within_10


def test_dictionaries_in_a_column_and_names_with_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Search results as DyNAS-T writes them; the name of the column is shown as it is."""
    column, rng = "Latency [bold red](ms)[/] :smile:", np.random.default_rng(0)
    lines = [f"Sub-network,Date,{column}"]
    for _ in range(40):
        config = {
            "wid": None,
            "ks": rng.choice([3, 5, 7], 20).tolist(),
            "e": rng.choice([3, 4, 6], 20).tolist(),
            "d": rng.choice([2, 3, 4], 5).tolist(),
            "r": [224],
        }
        lines.append(f'"{config}",2026-01-01 00:00:00,{sum(config["d"]) + rng.uniform(0, 0.1):.4f}')
    (tmp_path / "results.csv").write_text("\n".join(lines) + "\n")
    given = ["--measured", str(tmp_path / "results.csv"), "--family", "imagenet-w1.0", "--model", "additive"]
    assert fit.main([*given, "--column", column, "--out", str(tmp_path / "m.json")]) == 0
    shown = capsys.readouterr().out
    assert "".join(column.split()) in "".join(shown.split())
    out = tmp_path / "again.csv"
    given = ["--model", str(tmp_path / "m.json"), "--subnets", str(tmp_path / "results.csv")]
    assert predict.main([*given, "--out", str(out)]) == 0
    assert out.read_text().splitlines()[0] == f"Sub-network,Date,{column},predicted_ms,low_ms,high_ms"
    assert predict.main(["--model", str(tmp_path / "m.json"), "--subnets", str(out)]) == 2  # columns taken
