"""`hwbench pareto` on the shipped accuracies and the shipped reference table."""

import csv
import json
import re

import numpy as np
import pytest

from compofa.accuracy import Accuracies
from compofa.spaces.arch import Arch
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import pareto, shipped
from lut.predictors.auto import AutoPredictor
from lut.predictors.subnets import subnet_rows
from lut.subnet_model import SubnetModel


@pytest.fixture(autouse=True)
def no_tables(tmp_path, monkeypatch):
    """No table was built: the shipped one serves."""
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path / "home"))


def run_json(capsys, *arguments):
    assert pareto.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_whole_of_compofa_beside_ofa(capsys):
    found = run_json(capsys, "--space", "compofa", "--space", "ofa")
    compofa, ofa = found["spaces"]
    assert found["lut_is_the_shipped_reference"]
    assert (compofa["subnets_measured"], compofa["enumerated"]) == (243 * len(GLYPHS.resolutions), True)
    assert compofa["supernet"] == "glyphs-compofa"
    assert ofa["supernet"] == "glyphs-ofa"
    assert ofa["subnets_measured"] >= 1500
    assert ofa["subnets_predicted"] > 0
    assert not ofa["enumerated"]
    assert compofa["searched_frontier"] == []
    assert len(ofa["searched_frontier"]) > 20
    for space in (compofa, ofa):
        assert space["hypervolume"] > 0
        accuracies = [point["accuracy"] for point in space["frontier"]]
        assert accuracies == sorted(accuracies)


def test_the_compofa_frontier_is_exact(capsys):
    found = run_json(capsys, "--space", "compofa")
    accuracies = Accuracies.load(shipped.accuracies("glyphs", "compofa"))
    from lut.calibration import load_model

    model = load_model(shipped.reference_table("glyphs"))
    archs = list(get_space("compofa", GLYPHS).enumerate())
    latency = np.array([model.latency_ms(get_space("compofa", GLYPHS).blocks(arch)) for arch in archs])
    accuracy = np.array([accuracies.accuracy(arch) for arch in archs])
    best = {
        str(arch)
        for arch, ms, value in zip(archs, latency, accuracy, strict=True)
        if not ((latency <= ms) & (accuracy >= value) & ((latency < ms) | (accuracy > value))).any()
    }
    assert {point["arch"] for point in found["spaces"][0]["frontier"]} == best


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_pictures_and_csv(tmp_path, capsys, suffix):
    picture, table = tmp_path / f"p.{suffix}", tmp_path / "p.csv"
    found = run_json(capsys, "--out", str(picture), "--csv", str(table))
    assert picture.stat().st_size > 10_000
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == sum(s["subnets_measured"] + s["subnets_predicted"] for s in found["spaces"])
    on_frontier = [row["arch"] for row in rows if row["on_frontier"] == "1"]
    assert sorted(on_frontier) == sorted(p["arch"] for s in found["spaces"] for p in s["frontier"])
    assert {row["accuracy_is"] for row in rows} == {"measured", "predicted"}
    if suffix == "svg":
        text = picture.read_text()
        for words in ("latency", "test accuracy", "compofa", "onnxruntime"):
            assert re.search(words, text), words


def test_the_summary_says_what_the_numbers_are_of(capsys):
    assert pareto.main([]) == 0
    out, err = capsys.readouterr()
    assert "shipped reference table" in err
    for words in ("onnxruntime", "fp32", "batch 1", "1 thread", "hypervolume"):
        assert words in out, words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space", "nas"], "unknown space 'nas'; there are ofa, compofa, compofa-elastic"),
        (["--family", "resnet"], "unknown family 'resnet'"),
        (["--family", "imagenet-w1.0"], "no table of imagenet-w1.0"),
        (["--lut", "missing.jsonl"], "missing.jsonl: No such file"),
        (["--accuracy", "missing.jsonl"], "missing.jsonl: No such file"),
        (["--accuracy", "{lut}"], "neither a safetensors file nor a torch state dict"),
        (["--lut", "{accuracy}"], "table"),
        (["--accuracy", "a", "--accuracy", "b", "--accuracy", "c"], "3 times --accuracy for 2 spaces"),
        (["--out", "x.bmp"], "must end in one of .png, .svg, .pdf"),
        (["--out", "no/such/folder/x.png"], "cannot write"),
        (["--csv", "no/such/folder/x.csv"], "cannot write"),
        (["--space", "compofa-elastic", "--accuracy", "{other}"], "of family imagenet-w1.0, not of glyphs"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    accuracy = shipped.accuracies("glyphs", "compofa")
    other = tmp_path / "other.jsonl"
    header = accuracy.read_text().splitlines()[0].replace('"glyphs"', '"imagenet-w1.0"', 1)
    other.write_text(header + "\n")
    names = {"lut": shipped.reference_table("glyphs"), "accuracy": accuracy, "other": other}
    assert pareto.main([argument.format(**names) for argument in arguments]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(error) == 1
    assert message in error[0]


def test_latencies_of_a_fitted_model(capsys, tmp_path):
    rng, space = np.random.default_rng(0), get_space("ofa", GLYPHS)
    genotypes = encode(GLYPHS, [space.sample(rng) for _ in range(60)])
    latency = 0.1 + subnet_rows(GLYPHS, genotypes).prior
    model = SubnetModel.fit(GLYPHS, "cpu_ms", genotypes, latency, AutoPredictor(("additive",)))
    path = tmp_path / "m.json"
    model.save(path)
    picture = tmp_path / "p.svg"
    given = ["--space", "compofa", "--space", "ofa", "--model", str(path)]
    found = run_json(capsys, *given, "--out", str(picture))
    assert (found["origin"], found["column"], found["model"]) == ("predicted", "cpu_ms", str(path))
    compofa, ofa = found["spaces"]
    assert compofa["enumerated"] and len(ofa["searched_frontier"]) > 20
    for point in (*compofa["frontier"], *ofa["searched_frontier"]):
        (again,) = model.predict_ms(encode(GLYPHS, [Arch.parse(point["arch"])]))
        assert again == pytest.approx(point["latency_ms"], rel=1e-6)
    assert picture.stat().st_size > 1000
    assert pareto.main([*given[:2], "--model", str(path)]) == 0
    assert "predicted by 1.0 additive, fitted on 60 measured subnets" in capsys.readouterr().out
    assert pareto.main([*given, "--family", "imagenet-w1.0"]) == 2
    assert "m.json is a model of family glyphs, not of imagenet-w1.0" in capsys.readouterr().err
    assert pareto.main(["--model", str(tmp_path / "no.json")]) == 2
    assert "no.json: No such file" in capsys.readouterr().err
