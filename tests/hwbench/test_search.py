"""`hwbench search` on modelled tables of glyphs and a made-up predictor."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import search

from backends.base import Measurement, Target
from compofa.accuracy import Accuracies, append, fitting
from compofa.accuracy import Header as AccuracyHeader
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.blocks import total_macs, total_params
from compofa.network import arch_blocks
from compofa.spaces.arch import Arch
from compofa.spaces.layout import encode, layout
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.accuracy_source import open_accuracy
from lut import store
from lut.costs import COUNTED
from lut.header import Header
from lut.predictors.auto import AutoPredictor
from lut.predictors.subnets import subnet_rows
from lut.subnet_model import SubnetModel
from lut.table import Table

OFA, COMPOFA = get_space("ofa", GLYPHS), get_space("compofa", GLYPHS)


def write_table(path: Path, blocks, device: str = "d", scale: float = 1e6, family: str = "glyphs") -> Path:
    header = Header(Target("none", device), family, "ofa", get_family(family).resolutions, "2026")
    with store.Writer(path, header) as writer:
        writer.append(
            (b, Measurement("modelled", ms := 0.01 + b.macs / scale, ms, ms, cycles=1)) for b in blocks
        )
    if not blocks:  # as version 0.1.0 left a table whose build failed at once
        path.write_text(json.dumps(header.to_dict()) + "\n")
    return path


def truth(genotypes: np.ndarray) -> np.ndarray:
    size = (genotypes[:, 1:] * np.linspace(1, 2, layout(GLYPHS).slots)).sum(1) / 300
    return 0.5 + 0.3 * np.tanh(size) + 0.02 * genotypes[:, 0]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Tables of all blocks, of CompOFA's, of two devices; a predictor; measured accuracies."""
    folder = tmp_path_factory.mktemp("search")
    blocks = OFA.all_blocks()
    found = {
        "lut": write_table(folder / "a.jsonl", blocks),
        "other": write_table(folder / "b.jsonl", blocks, "e", scale=3e5),
        "compofa_lut": write_table(folder / "c.jsonl", COMPOFA.all_blocks()),
        "empty": write_table(folder / "empty.jsonl", ()),
        "imagenet": write_table(folder / "i.jsonl", (), family="imagenet-w1.0"),
        "predictor": folder / "p.predictor.safetensors",
        "measured": folder / "m.accuracy.jsonl",
        "foreign": folder / "f.predictor.safetensors",
    }
    rng = np.random.default_rng(0)
    hidden = (rng.normal(0, 0.3, (32, 125)).astype("f4"), np.full(32, 0.1, "f4"))
    last = (rng.normal(0, 0.01, (1, 32)).astype("f4"), np.full(1, 0.5, "f4"))
    report = {"held_out": {"mae": 0.01}}
    AccuracyPredictor(GLYPHS, "one-hot", (hidden, last), report).save(found["predictor"])
    foreign = ((np.zeros((1, 145), "f4"), np.zeros(1, "f4")),)
    AccuracyPredictor(get_family("imagenet-w1.0"), "one-hot", foreign, {}).save(found["foreign"])
    archs = list(COMPOFA.enumerate())
    header = AccuracyHeader("glyphs", "s", "0", "synthetic", 10_000, 0)
    correct = (truth(encode(GLYPHS, archs)) * 10_000).round().astype(int).tolist()
    append(found["measured"], header, zip(archs, correct, strict=True))
    return found


@pytest.fixture
def run(files, capsys):
    """Run the command with file names filled in; gives the JSON."""

    def call(*arguments: str) -> dict:
        assert search.main([*(a.format(**files) for a in arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def test_compofa_is_exact_on_measured_accuracies(run, files) -> None:
    found = run(
        "--space", "compofa", "--lut", "{compofa_lut}", "--accuracy", "{measured}", "--latency-ms", "2.5"
    )
    table = Table.load(files["compofa_lut"])
    archs = list(COMPOFA.enumerate())
    genotypes = encode(GLYPHS, archs)
    latency, accuracy = table.predict(genotypes), (truth(genotypes) * 10_000).round() / 10_000
    assert found["exact"] and found["accuracy_is"] == "measured"
    assert "enumeration" in found["method"]
    (result,) = found["results"]
    assert result["constraint"] == 2.5 and result["may_miss"] == 0
    assert result["accuracy"] == pytest.approx(accuracy[latency <= 2.5].max())
    best = archs.index(Arch.parse(result["arch"]))
    assert latency[best] == pytest.approx(result["latency_ms"])
    assert len(found["frontier"]) > 5


@pytest.mark.parametrize("space", ["ofa", "compofa-elastic"])
def test_results_come_in_the_order_asked(run, files, space: str) -> None:
    found = run(
        "--space", space, "--lut", "{lut}", "--accuracy", "{predictor}",
        "--latency-ms", "3", "--latency-ms", "2", "--latency-ms", "a=2.5",
    )  # fmt: skip
    assert [r["constraint"] for r in found["results"]] == [3, 2, 2.5]
    table, predictor = Table.load(files["lut"]), AccuracyPredictor.load(files["predictor"])
    for result in found["results"]:
        arch = Arch.parse(result["arch"])
        assert get_space(space, GLYPHS).contains(arch)
        assert table.latency_ms(OFA.blocks(arch)) == pytest.approx(result["latency_ms"])
        assert result["latency_ms"] <= result["constraint"]
        assert predictor.predict(encode(GLYPHS, [arch]))[0] == pytest.approx(result["accuracy"], abs=1e-6)
        assert 0 <= result["may_miss"] < 0.3
    random = encode(GLYPHS, [get_space(space, GLYPHS).sample(np.random.default_rng(i)) for i in range(300)])
    fits = table.predict(random) <= 3
    assert predictor.predict(random)[fits].max() <= found["results"][0]["accuracy"]


def test_no_limit_is_the_whole_frontier(run, files, tmp_path) -> None:
    path = tmp_path / "f.csv"
    found = run("--lut", "{lut}", "--accuracy", "{predictor}", "--csv", str(path))
    assert found["results"] == [{"constraint": None, **row} for row in found["frontier"]]
    assert [r["latency_ms"] for r in found["frontier"]] == sorted(r["latency_ms"] for r in found["frontier"])
    rows = list(csv.DictReader(path.open()))
    assert [row["arch"] for row in rows] == [row["arch"] for row in found["frontier"]]


def test_several_targets_and_three_objectives(run, files) -> None:
    found = run(
        "--lut", "A={lut}", "--lut", "B={other}", "--accuracy", "{predictor}",
        "--latency-ms", "A=3", "--latency-ms", "B=6",
    )  # fmt: skip
    (result,) = found["results"]
    assert result["constraint"] == {"A": 3, "B": 6}
    blocks = OFA.blocks(Arch.parse(result["arch"]))
    for name, key, limit in (("A", "lut", 3), ("B", "other", 6)):
        assert Table.load(files[key]).latency_ms(blocks) == pytest.approx(result["latency_ms"][name])
        assert result["latency_ms"][name] <= limit
    alone = run("--lut", "B={other}", "--accuracy", "{predictor}", "--latency-ms", "6")["results"][0]
    assert result["accuracy"] <= alone["accuracy"] + alone["may_miss"]
    assert set(found["frontier"][0]["latency_ms"]) == {"A", "B"}


def test_a_seed_gives_the_same_answer(run) -> None:
    arguments = ("--lut", "{lut}", "--accuracy", "{predictor}", "--latency-ms", "2", "--seed", "3")
    one, two = run(*arguments), run(*arguments)
    assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_the_summary_says_what_the_numbers_are_of(files, capsys) -> None:
    arguments = ["--lut", str(files["lut"]), "--accuracy", str(files["predictor"]), "--latency-ms", "2"]
    assert search.main(arguments) == 0
    out = capsys.readouterr().out
    for words in ("predicted (", "sum of the table's entries", "dynamic programme", "may miss", "r"):
        assert words in out, words
    assert str(Arch.parse(out.splitlines()[-1]))


def test_measured_accuracies_of_a_part_are_fitted(run, files, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fitting, "CANDIDATES", fitting.CANDIDATES[:1])  # the cheapest
    path = tmp_path / "some.accuracy.jsonl"
    path.write_text("".join(files["measured"].open().readlines()[:301]))
    found = run("--space", "compofa", "--lut", "{lut}", "--accuracy", str(path), "--latency-ms", "2.5")
    assert found["accuracy_is"] == "predicted"
    assert found["accuracy_mae"] < 0.05


def test_a_calibration_names_its_table(files, tmp_path, capsys) -> None:
    arguments = ["--accuracy", str(files["predictor"]), "--model"]
    assert search.main([*arguments, str(tmp_path / "x.calibration.json")]) == 2
    assert "x.calibration.json: No such file" in capsys.readouterr().err
    assert search.main([*arguments, str(files["predictor"])]) == 2
    assert "p.predictor.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--latency-ms", "0.01"], 1, "no subnet of ofa was found within 0.01 ms: the fastest takes"),
        (
            ["--space", "compofa", "--latency-ms", "0.01"],
            1,
            "(r16-k3e3_k3e3-k5e3_k5e3-k3e3_k3e3-k3e3_k3e3-k5e3_k5e3)",
        ),
        (["--latency-ms", "20us"], 2, "give milliseconds as a positive number without a unit"),
        (["--latency-ms", "-1"], 2, "is not a latency"),
        (["--latency-ms", "nan"], 2, "is not a latency"),
        (["--latency-ms", "phone=2"], 2, "there is no target 'phone', only a"),
        (["--lut", "{other}", "--latency-ms", "2"], 2, "say of which target, as in a=2"),
        (
            ["--lut", "{other}", "--latency-ms", "a=2", "--latency-ms", "a=3"],
            2,
            "give one --latency-ms for each",
        ),
        (["--lut", "{lut}"], 2, "two targets are called 'a': name them"),
        (["--lut", "{imagenet}"], 2, "holds latencies of family imagenet-w1.0, not of glyphs"),
        (["--accuracy", "{foreign}"], 2, "predicts accuracies of family imagenet-w1.0, not of glyphs"),
        (["--accuracy", "{lut}"], 2, "neither a safetensors file nor a torch state dict"),
        (
            ["--accuracy", "{measured}"],
            2,
            "holds no subnet with k5e3 as block 1 of unit 1, as space ofa has",
        ),
        (["--accuracy", "missing"], 2, "missing: No such file"),
        (["--space", "nas"], 2, "unknown space 'nas'"),
        (["--family", "imagenet-w1.0"], 2, "holds latencies of family glyphs, not of imagenet-w1.0"),
        (["--csv", "no/such/folder/x.csv"], 2, "cannot write"),
    ],
)
def test_bad_input_is_one_line(files, capsys, arguments, code: int, message: str) -> None:
    given = ["--lut", "{lut}", *arguments]
    given += [] if "--accuracy" in arguments else ["--accuracy", "{predictor}"]
    assert search.main([a.format(**files) for a in given]) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in line


@pytest.mark.parametrize(
    ("lut", "message"),
    [
        ("empty", "has no entry: finish it with hwbench build_lut"),
        ("compofa_lut", "blocks of space ofa, the first being mbconv-8x8x8-24-8-k5-s1-relu: add them with"),
    ],
)
def test_an_unfinished_table_is_refused(files, capsys, lut: str, message: str) -> None:
    missing = len(set(OFA.all_blocks()) - set(COMPOFA.all_blocks()))
    assert search.main(["--lut", str(files[lut]), "--accuracy", str(files["predictor"])]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert (f"lacks {missing} blocks" in error) == (lut == "compofa_lut")


def test_resolutions_that_do_not_meet_are_refused(files, tmp_path, capsys) -> None:
    known = AccuracyPredictor.load(files["predictor"])
    path = tmp_path / "q.safetensors"
    replace(known, resolutions=(17, 18, 19, 21, 22)).save(path)
    assert search.main(["--lut", str(files["lut"]), "--accuracy", str(path)]) == 2
    assert "no resolution in common: the accuracies are of 17, 18" in capsys.readouterr().err


# --- by a model of whole subnets ---


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    """A device on which the later of two clocks counts, so that no sum is right; no subnet measured at 20 px."""
    space, rng = get_space("ofa", GLYPHS), np.random.default_rng(0)
    sides = [r for r in GLYPHS.resolutions if r != 20]
    genotypes = encode(GLYPHS, [space.sample(rng, int(rng.choice(sides))) for _ in range(120)])
    rows = subnet_rows(GLYPHS, genotypes)
    host = rows.linear["launches"].sum(axis=1)
    work = rows.prior * np.median(host) / np.median(rows.prior)
    model = SubnetModel.fit(GLYPHS, "cpu_ms", genotypes, np.maximum(host, work), AutoPredictor(("roofline",)))
    model.about["target"] = "made up"
    path = tmp_path_factory.mktemp("fitted") / "m.json"
    model.save(path)
    return path


@pytest.mark.parametrize("space", ["ofa", "compofa"])
def test_limits_hold_for_what_a_fitted_model_predicts(run, fitted, space: str) -> None:
    model = SubnetModel.load(fitted)
    rng, chosen = np.random.default_rng(1), get_space(space, GLYPHS)
    sides = [r for r in GLYPHS.resolutions if r != 20]
    random = encode(GLYPHS, [chosen.sample(rng, int(rng.choice(sides))) for _ in range(500)])
    random_ms = model.predict(random)
    limits = np.quantile(random_ms, [0.2, 0.6])
    given = [part for limit in limits for part in ("--latency-ms", f"{limit:.6f}")]
    found = run("--space", space, "--model", str(fitted), "--accuracy", "{predictor}", *given)
    assert found["exact"] == (space == "compofa")
    assert 20 not in found["resolutions"]
    (target,) = found["targets"].values()
    assert (target["origin"], target["column"], target["target"]) == ("predicted", "cpu_ms", "made up")
    assert "predicted by 1.0 roofline, fitted on 120 measured subnets" in target["latency"]
    for row in (*found["results"], *found["frontier"]):
        (again,) = model.predict(encode(GLYPHS, [Arch.parse(row["arch"])]))
        assert again == pytest.approx(row["latency_ms"], rel=1e-9)
    predictor = AccuracyPredictor.load(found["accuracy"])
    for result, limit in zip(found["results"], limits, strict=True):
        assert result["latency_ms"] <= result["constraint"]
        assert predictor.predict(random)[random_ms <= limit].max() <= result["accuracy"] + 1e-6


def test_a_fitted_model_and_a_table_are_two_targets(run, fitted) -> None:
    found = run(
        "--lut", "A={lut}", "--model", f"B={fitted}", "--accuracy", "{predictor}", "--latency-ms", "A=3",
    )  # fmt: skip
    (result,) = found["results"]
    assert result["constraint"] == {"A": 3} and result["latency_ms"]["A"] <= 3
    assert "blocks" in found["targets"]["A"] and "column" in found["targets"]["B"]


def test_people_see_that_latencies_are_predicted(files, fitted, capsys) -> None:
    arguments = ["--space", "compofa", "--model", str(fitted), "--accuracy", str(files["predictor"])]
    assert search.main(arguments) == 0
    assert "predicted by 1.0 roofline, fitted on 120 measured subnets" in capsys.readouterr().out


@pytest.mark.parametrize("space", ["ofa", "compofa"])
def test_what_a_fitted_model_cannot_meet_is_one_line(files, fitted, capsys, space: str) -> None:
    given = ["--space", space, "--model", str(fitted), "--accuracy", str(files["predictor"])]
    assert search.main([*given, "--latency-ms", "0.001"]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert f"no subnet of {space} was found within 0.001 ms: the fastest takes" in line
    assert search.main([*given, "--family", "imagenet-w1.0"]) == 2
    assert "m.json holds latencies of family glyphs, not of imagenet-w1.0" in capsys.readouterr().err


# --- other costs ---


def test_other_costs_are_limited(capsys: pytest.CaptureFixture[str]) -> None:
    """Against brute force over CompOFA's subnets, whose accuracies are all measured."""
    space = get_space("compofa", GLYPHS)
    every = list(space.enumerate())
    blocks = {arch: arch_blocks(GLYPHS, arch) for arch in every}
    accuracies = Accuracies.load(shipped.accuracies("glyphs", "compofa"))
    peak = {arch: max(block.peak_activations for block in blocks[arch]) * 4 / 1e6 for arch in every}
    for option, most, cost in (
        ("--max-macs", 1.5, lambda arch: total_macs(blocks[arch]) / 1e6),
        ("--max-params", 0.25, lambda arch: total_params(blocks[arch]) / 1e6),
        ("--max-memory-mb", 0.05, peak.__getitem__),
    ):
        assert search.main(["--space", "compofa", option, str(most), "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        best = max(accuracies.accuracy(arch) for arch in every if cost(arch) <= most)
        found = max(document["results"], key=lambda row: row["accuracy"])
        assert found["accuracy"] == best < max(map(accuracies.accuracy, every))
        assert all(cost(Arch.parse(row["arch"])) <= most * (1 + 1e-9) for row in document["results"])


def test_other_costs_stand_beside_a_latency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = ["--latency-ms", "0.3", "--latency-ms", "0.5", "--max-macs", "2", "--max-params", "0.3"]
    assert search.main(["--space", "ofa", *limits, "--csv", str(tmp_path / "f.csv"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for row, limit in zip(document["results"], (0.3, 0.5), strict=True):
        assert row["latency_ms"] <= limit and row["macs_m"] <= 2 and row["params_m"] <= 0.3
        blocks = arch_blocks(GLYPHS, Arch.parse(row["arch"]))
        assert row["macs_m"] == pytest.approx(total_macs(blocks) / 1e6)
    header = (tmp_path / "f.csv").read_text().splitlines()[0]
    assert header == "arch,accuracy,accuracy_is,latency_ms,macs_m,params_m"
    assert search.main(["--max-macs", "2"]) == 0
    assert "MACs (M)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-memory-mb", "0.0001"], "the least hungry one needs"),
        (["--max-macs", "0.0001"], "no subnet of ofa was found within"),
        (["--max-params", "-1"], "not a positive number"),
    ],
)
def test_other_costs_that_nothing_meets_are_one_line(arguments, message, capsys) -> None:
    assert search.main(arguments) in (1, 2)
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("cost", "limit", "column"),
    [
        ("macs", "--max-macs", "macs_m"),
        ("params", "--max-params", "params_m"),
        ("memory", "--max-memory-mb", "memory_mb"),
    ],
)
def test_a_search_by_any_cost_needs_no_table(capsys, cost: str, limit: str, column: str) -> None:
    """And finds what enumeration finds."""
    most = {"macs": 1.0, "params": 0.3, "memory": 0.035}[cost]
    assert search.main(["--space", "compofa", "--cost", cost, limit, str(most), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert all(point[column] <= most for point in document["frontier"] if cost == "memory")
    best = document["results"][-1 if cost == "memory" else 0]
    assert best[column] <= most
    source = open_accuracy(None, get_space("compofa", GLYPHS))
    genotypes = get_space("compofa", GLYPHS).enumerate_genotypes()
    fits = COUNTED[cost](GLYPHS).predict(genotypes) <= most
    assert 0 < fits.sum() < len(fits)
    assert best["accuracy"] == pytest.approx(source.predict(genotypes[fits]).max())
    assert search.main(["--cost", cost, "--latency-ms", "2"]) == 2
    assert f"are of latencies, not of {cost}" in capsys.readouterr().err
