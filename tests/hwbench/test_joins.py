"""What is joined belongs together, and what is asked was told: accuracies, latencies, supernets, files of our own."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import build_lut, fit, pareto, predict, search, specialize

from compofa.accuracy import Header, append, fitting
from compofa.accuracy.fitting import CANDIDATES, fit_predictor
from compofa.accuracy.origin import AccuracyOrigin
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.checkpoint import save_supernet
from compofa.errors import InputError
from compofa.network import arch_blocks
from compofa.spaces.arch import Arch
from compofa.spaces.layout import decode, encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from compofa.supernet import Supernet
from hwbench import shipped
from hwbench.measured_accuracies import load_measured
from hwbench.specializing import card, run
from lut import store
from lut.calibration import Calibration, calibration_path
from lut.table import Table

OFA, COMPOFA = get_space("ofa", GLYPHS), get_space("compofa", GLYPHS)
LUT = str(shipped.reference_table("glyphs"))


@pytest.fixture(autouse=True)
def no_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(fitting, "CANDIDATES", CANDIDATES[:1])  # the cheapest


def drawn(count: int, resolution: int | None = None, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return list(dict.fromkeys(OFA.sample(rng, resolution) for _ in range(count)))


def accuracies(path: Path, archs, sha256: str = "0" * 64, data: str = "mine", images: int = 1000) -> Path:
    """Measured accuracies, larger for larger subnets."""
    size = encode(GLYPHS, archs).sum(axis=1)
    correct = (images * (0.5 + 0.3 * size / 130)).astype(int).tolist()
    append(path, Header("glyphs", "mine", sha256, data, images, 512), zip(archs, correct, strict=True))
    return path


def error_of(capsys) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    return line


# --- only where it was measured ---


def test_accuracies_of_one_resolution_recommend_no_other(tmp_path, capsys) -> None:
    """Case 01."""
    path = accuracies(tmp_path / "r32.accuracy.jsonl", drawn(160, 32))
    arguments = ["--lut", LUT, "--accuracy", str(path), "--latency-ms", "0.15"]
    assert search.main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["resolutions"], document["resolutions_left_out"]) == ([32], [16, 20, 24, 28])
    assert all(row["arch"].startswith("r32-") for row in (*document["results"], *document["frontier"]))
    assert f"{path} says nothing of 16, 20, 24, 28 px: subnets of these resolutions are left out" in err
    assert search.main(arguments) == 0
    assert "glyphs, space ofa, at 32 px only" in capsys.readouterr().out


def test_a_space_measured_in_full_at_one_resolution_is_measured_not_predicted(tmp_path, capsys) -> None:
    path = accuracies(tmp_path / "a.accuracy.jsonl", list(COMPOFA.enumerate((20,))))
    assert search.main(["--space", "compofa", "--lut", LUT, "--accuracy", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["accuracy_is"], document["resolutions"]) == ("measured", [20])


def test_pareto_asks_a_predictor_only_where_it_was_fitted(tmp_path, capsys) -> None:
    path, archs = tmp_path / "a.accuracy.jsonl", [*drawn(100, 32), *drawn(5, 16)]
    accuracies(path, archs)
    measured = load_measured(path, GLYPHS)
    predictor = fit_predictor(GLYPHS, measured.genotypes, measured.accuracy, origin=measured.origin)
    predictor.save(tmp_path / "a.predictor.safetensors")
    table = tmp_path / "p.csv"
    assert pareto.main(["--space", "ofa", "--lut", LUT, "--accuracy", str(path), "--csv", str(table)]) == 0
    rows = list(csv.DictReader(table.open()))
    assert {row["arch"].split("-")[0] for row in rows if row["accuracy_is"] == "predicted"} == {"r32"}
    assert {row["arch"].split("-")[0] for row in rows if row["accuracy_is"] == "measured"} == {"r32", "r16"}
    assert "no accuracy is predicted at 16, 20, 24, 28 px" in capsys.readouterr().err


# --- whose accuracy ---


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A supernet of one's own data."""
    path = tmp_path_factory.mktemp("own") / "s.safetensors"
    torch.manual_seed(0)
    save_supernet(Supernet(replace(GLYPHS, classes=10)), path, {"recipe": {"name": "my-compofa-like"}})
    return path


def test_a_supernet_of_ones_own_is_not_specialised_by_the_shipped_accuracies(own, tmp_path, capsys) -> None:
    """Case 05."""
    out = tmp_path / "out"
    base = ["--supernet", str(own), "--latency-ms", "0.1", "--lut", LUT, "--data", "digits"]
    base += ["--no-latency", "--out", str(out)]
    assert specialize.main(base) == 2
    error = error_of(capsys)
    assert "no accuracies of this supernet are shipped: measure its own with hwbench evaluate" in error
    assert f"--supernet {own} --space ofa" in error
    assert not out.exists() and not list(tmp_path.glob(".out*"))
    given = ["--accuracy", str(shipped.accuracies("glyphs", "ofa"))]
    assert specialize.main([*base, *given]) == 2
    assert "of supernet glyphs-ofa (a3fe0c0e0eb3) on glyphs-v1-test, not of this one" in error_of(capsys)
    assert specialize.main([*base, *given, "--force", "--json"]) == 0
    captured = capsys.readouterr()
    assert "warning: " in captured.err and "not of this one" in captured.err
    assert json.loads(captured.out)["chosen"]["accuracy_is"] == "predicted"


def test_a_supernets_own_accuracies_are_taken(own, tmp_path, capsys) -> None:
    import hashlib

    sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
    path = accuracies(tmp_path / "own.accuracy.jsonl", drawn(150), sha256=sha256)
    given = ["--accuracy", str(path), "--supernet", str(own), "--latency-ms", "0.1", "--lut", LUT]
    out = tmp_path / "out"
    assert specialize.main([*given, "--data", "digits", "--no-latency", "--out", str(out)]) == 0
    assert "own.accuracy.jsonl" in (out / "card.json").read_text()
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "card.json", "model.onnx", "weights.safetensors",
    ]  # fmt: skip


def test_the_shipped_predictor_says_whose_it_is() -> None:
    predictor = AccuracyPredictor.load(shipped.predictor("glyphs"))
    header = json.loads(shipped.accuracies("glyphs", "ofa").open().readline())
    assert predictor.origin.supernet_sha256 == header["supernet_sha256"]
    assert predictor.coverage and not predictor.coverage.lacks_of_space(OFA.used_choices())
    for recipe in ("ofa", "compofa"):
        import hashlib

        sha256 = hashlib.sha256(shipped.supernet("glyphs", recipe).read_bytes()).hexdigest()
        assert shipped.accuracies_of("glyphs", sha256) == shipped.accuracies("glyphs", recipe)
    with pytest.raises(InputError):
        shipped.accuracies_of("glyphs", "0" * 64)


@pytest.mark.parametrize(
    ("sha256", "data", "refused"), [("1", "mine", True), ("0", "other", True), ("0", "mine", False)]
)
def test_a_predictor_beside_other_accuracies_is_refused(tmp_path, capsys, sha256, data, refused) -> None:
    path = accuracies(tmp_path / "a.accuracy.jsonl", drawn(100))
    measured = load_measured(path, GLYPHS)
    origin = AccuracyOrigin("mine", sha256 * 64, data, 1000)
    fit_predictor(GLYPHS, measured.genotypes, measured.accuracy, origin=origin).save(
        tmp_path / "a.predictor.safetensors"
    )
    arguments = ["--lut", LUT, "--accuracy", str(path), "--latency-ms", "0.15"]
    assert search.main(arguments) == (2 if refused else 0)
    if refused:
        assert "was fitted to other accuracies than those of" in error_of(capsys)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"data": "other"}, "data: mine, not other"), ({"images": 500}, "images: 1000, not 500")],
)
def test_accuracies_on_other_images_are_not_drawn_together(tmp_path, capsys, changes, words) -> None:
    one = accuracies(tmp_path / "1.accuracy.jsonl", list(COMPOFA.enumerate((16,))))
    two = accuracies(tmp_path / "2.accuracy.jsonl", drawn(60, 16), **changes)
    spaces = ["--space", "compofa", "--space", "ofa", "--lut", LUT]
    given = [*spaces, "--accuracy", str(one), "--accuracy", str(two)]
    assert pareto.main(given) == 2
    error = error_of(capsys)
    assert "cannot be compared" in error and words in error and "--force goes on" in error
    assert pareto.main([*given, "--force"]) == 0
    assert pareto.main([*spaces, "--accuracy", str(one)]) == 0


def table_of(path: Path, **target) -> Path:
    """The shipped table as if of another target."""
    table = Table.load(Path(LUT))
    header = replace(table.header, target=replace(table.target, **target))
    with store.Writer(path, header) as writer:
        writer.append(table.entries.items())
    return path


@pytest.mark.parametrize("command", [search, pareto])
def test_latencies_of_another_number_format_say_so(tmp_path, capsys, command) -> None:
    path = table_of(tmp_path / "int8.jsonl", precision="int8")
    assert command.main(["--space", "compofa", "--lut", str(path)]) == 0
    assert "accuracies are of fp32 subnets; the latencies are of int8 ones" in capsys.readouterr().err


def test_a_card_of_batch_1_takes_no_table_of_batch_8(own, tmp_path, capsys) -> None:
    path = table_of(tmp_path / "b8.jsonl", batch=8)
    arch = str(COMPOFA.sample(np.random.default_rng(0), 16))
    given = ["--supernet", str(own), "--arch", arch, "--data", "digits", "--no-latency", "--lut", str(path)]
    assert specialize.main([*given, "--out", str(tmp_path / "out")]) == 2
    assert "is a table of batch 8, the exported model takes batch 1" in error_of(capsys)


# --- what the numbers are ---


def test_a_modelled_latency_is_called_modelled(own, tmp_path, capsys) -> None:
    """Case 14."""
    path, out = tmp_path / "kv.jsonl", tmp_path / "out"
    build = ["--backend", "fpga", "--target", "kv260-b4096", "--space", "compofa", "--resolutions", "16"]
    assert build_lut.main([*build, "--out", str(path)]) == 0
    arch = str(COMPOFA.sample(np.random.default_rng(0), 16))
    capsys.readouterr()
    given = ["--supernet", str(own), "--arch", arch, "--data", "digits", "--lut", str(path)]
    assert specialize.main([*given, "--out", str(out)]) == 0
    text, card = (out / "README.md").read_text(), json.loads((out / "card.json").read_text())
    assert card["latency"]["measured"] is None
    modelled, predicted = card["latency"]["modelled"], card["latency"]["predicted"]
    assert modelled["origin"] == "modelled" and modelled["is_the_tables_target"]
    assert modelled["target"] == predicted["target"] == Table.load(path).target.to_dict()
    assert "latency, modelled" in text and "; sum of the table's entries, modelled |" in text
    assert "latency, measured" not in text and "another target" not in capsys.readouterr().err


def test_a_missed_limit_is_on_the_card() -> None:
    measured = {"latency_ms": 0.13, "origin": "measured", "is_the_tables_target": True}
    chosen = {"constraint_ms": 0.1}
    limit = card.limit_of(chosen, {"measured": measured})
    assert limit and not limit["met"] and limit["excess_pct"] == pytest.approx(30)
    assert card.limit_text(limit) == "MISSED by 30.0 % (asked for 0.1 ms, measured 0.13 ms)"
    kept = card.limit_of(chosen, {"measured": {**measured, "latency_ms": 0.1}})
    assert kept and card.limit_text(kept) == "met (asked for 0.1 ms, measured 0.1 ms)"
    elsewhere = {**measured, "is_the_tables_target": False}
    assert card.limit_of(chosen, {"measured": elsewhere}) is None
    assert card.limit_of(None, {"measured": measured}) is None


def test_a_card_shows_signs_as_they_are() -> None:
    assert card._cell("a|b <i>c</i>\n$x$") == "a\\|b &lt;i&gt;c&lt;/i&gt; $x$"


def test_a_failed_run_leaves_no_folder(own, tmp_path, capsys, monkeypatch) -> None:
    out = tmp_path / "out"
    arch = str(COMPOFA.sample(np.random.default_rng(0), 16))
    given = ["--supernet", str(own), "--arch", arch, "--data", "digits", "--no-latency", "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(run, "card_text", lambda card: (_ for _ in ()).throw(OSError(28, "No space left", "x")))
        assert specialize.main(given) == 1
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    assert specialize.main(given) == 0
    assert specialize.main(given) == 2


def test_a_table_of_other_classes_is_told(tmp_path, capsys) -> None:
    for classes in (10, 62):
        path = tmp_path / f"{classes}.jsonl"
        built = [
            "--backend",
            "fpga",
            "--target",
            "kv260-b4096",
            "--classes",
            str(classes),
            "--out",
            str(path),
        ]
        assert build_lut.main(built) == 0
        capsys.readouterr()
        for command in (search, pareto):
            limit = ["--latency-ms", "2"] if command is search else []
            assert command.main(["--space", "compofa", "--lut", str(path), *limit]) == 0
            told = "tell 10 classes apart, the accuracies of 62" in capsys.readouterr().err
            assert told == (classes == 10)


# --- what is not to be trusted ---


def calibrated(path: Path, noise: float) -> Path:
    """The shipped table with a calibration on networks whose latencies are those of the table, or noise."""
    path.write_bytes(Path(LUT).read_bytes())
    table, rng = Table.load(path), np.random.default_rng(0)
    archs = tuple(drawn(40))
    truth = table.predict(encode(GLYPHS, archs))
    measured = (1 - noise) * truth + noise * rng.permutation(truth)
    Calibration(table, archs, tuple(measured.tolist()), tuple(measured.tolist())).save(calibration_path(path))
    return path


def test_a_calibration_that_ranks_badly_is_not_used(tmp_path, capsys) -> None:
    good, bad = calibrated(tmp_path / "good.jsonl", 0.02), calibrated(tmp_path / "bad.jsonl", 1.0)
    words = []
    for path, force in ((good, []), (bad, []), (bad, ["--force"])):
        assert search.main(["--space", "compofa", "--lut", str(path), "--json", *force]) == 0
        out, err = capsys.readouterr()
        words.append(
            (
                json.loads(out)["targets"][path.stem]["latency"].partition(", as")[0],
                "the rank correlation of the table's sums" in err,
            )
        )
    calibration, sums = (
        "predicted by the calibrated table",
        "sum of the table's entries",
    )
    assert words == [(calibration, False), (sums, True), (calibration, True)]


def test_a_noisy_table_is_warned_of(tmp_path, capsys) -> None:
    table = Table.load(Path(LUT))
    entries = list(table.entries.items())
    for share, warned in ((0.4, False), (0.6, True)):
        path, count = tmp_path / f"{share}.jsonl", int(share * len(entries))
        with store.Writer(path, table.header) as writer:
            writer.append((b, replace(m, noisy=i < count)) for i, (b, m) in enumerate(entries))
        assert pareto.main(["--space", "compofa", "--lut", str(path)]) == 0
        assert ("entries are noisy: build it again" in capsys.readouterr().err) == warned


# --- blocks that cannot run ---


def crippled(path: Path, fails) -> Path:
    """The shipped table of a device that cannot run some blocks."""
    table = Table.load(Path(LUT))
    with store.Writer(path, table.header) as writer:
        writer.append((b, m) for b, m in table.entries.items() if not fails(b))
        writer.append_failures({b: "not enough bank space" for b in table.entries if fails(b)})
    return path


def test_search_and_pareto_go_on_without_what_cannot_run(tmp_path, capsys) -> None:
    """Case 10."""
    path = crippled(tmp_path / "c.jsonl", lambda b: b.kernel == 7 and b.hidden_channels >= 192)
    failed = set(Table.load(path).failures)
    assert len(failed) == 10
    assert search.main(["--lut", str(path), "--latency-ms", "0.1", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    lost = document["cannot_run"]["c"]
    assert len(lost["blocks"]) == 10 and 0 < lost["subnets"] < lost["of"] == OFA.count()
    assert lost["of"] - lost["subnets"] == OFA.without(failed).count()
    assert "10 blocks of space ofa cannot run on" in err and "not enough bank space" in err
    for row in (*document["results"], *document["frontier"]):
        assert failed.isdisjoint(arch_blocks(GLYPHS, Arch.parse(row["arch"])))
    table = tmp_path / "p.csv"
    assert pareto.main(["--space", "ofa", "--lut", str(path), "--csv", str(table)]) == 0
    archs = [Arch.parse(row["arch"]) for row in csv.DictReader(table.open())]
    assert len(archs) > 5000 and all(failed.isdisjoint(arch_blocks(GLYPHS, arch)) for arch in archs)


def test_a_compofa_frontier_is_exact_without_what_cannot_run(tmp_path, capsys) -> None:
    path = crippled(tmp_path / "c.jsonl", lambda b: b.hidden_channels == 288 or b.in_shape == (3, 16, 16))
    failed = Table.load(path).failures
    assert search.main(["--space", "compofa", "--lut", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["exact"] and document["resolutions"] == [20, 24, 28, 32]
    table = Table.load(path)
    measured = load_measured(shipped.accuracies("glyphs", "compofa"), GLYPHS)
    runs = [failed.keys().isdisjoint(arch_blocks(GLYPHS, a)) for a in decode(GLYPHS, measured.genotypes)]
    assert document["subnets_evaluated"] == sum(runs) < len(runs)
    ms, accuracy = table.predict(measured.genotypes[runs]), measured.accuracy[runs]
    best = {
        (float(m), float(a))
        for m, a in zip(ms, accuracy, strict=True)
        if not ((ms <= m) & (accuracy > a)).any()
    }
    found = {(row["latency_ms"], row["accuracy"]) for row in document["frontier"]}
    assert found <= best and {a for _, a in best} == {a for _, a in found}


def test_a_device_that_can_run_nothing_is_one_line(tmp_path, capsys) -> None:
    path = crippled(tmp_path / "c.jsonl", lambda b: b.kind == "linear")
    assert search.main(["--space", "compofa", "--lut", str(path)]) == 1
    assert "no subnet is left" in error_of(capsys)


# --- the command line ---


def test_one_table_given_twice_to_pareto_is_refused(capsys) -> None:
    """Case 15."""
    assert pareto.main(["--space", "compofa", "--lut", LUT, "--lut", LUT]) == 2
    assert "is given twice: give each table once" in error_of(capsys)


def test_limits_that_can_be_met_are_answered(capsys) -> None:
    given = ["--space", "compofa", "--lut", LUT, "--latency-ms", "0.001", "--latency-ms", "0.1"]
    assert search.main([*given, "--json"]) == 0
    out, err = capsys.readouterr()
    one, two = json.loads(out)["results"]
    assert one["arch"] is None and "within 0.001 ms" in one["unmet"] and two["latency_ms"] <= 0.1
    assert "not met: no subnet of compofa was found within 0.001 ms: the fastest takes" in err
    assert search.main(given) == 0
    assert search.main(given[:-2]) == 1


@pytest.mark.parametrize("top", [1, 2, 7, 10_000])
def test_of_a_frontier_so_many_are_printed(capsys, tmp_path, top) -> None:
    path = tmp_path / "f.csv"
    assert search.main(["--space", "compofa", "--lut", LUT, "--csv", str(path), "--top", str(top)]) == 0
    lines = capsys.readouterr().out.splitlines()
    printed = [line for line in lines if line.startswith("r") and "-k" in line]
    everything = [row["arch"] for row in csv.DictReader(path.open())]
    assert len(printed) == min(top, len(everything)) and set(printed) <= set(everything)
    assert printed[-1] == everything[-1] and (top == 1 or printed[0] == everything[0])
    assert any("of the frontier's" in line for line in lines) == (top < len(everything))


# --- accuracies as CSV, and what the program writes itself ---


def write_rows(path: Path, *rows: tuple) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("columns", [False, True])
def test_accuracies_as_csv_are_those_of_our_own_file(tmp_path, capsys, scale, columns) -> None:
    """Case 16."""
    from lut.subnets_csv import subnet_columns

    ours = load_measured(accuracies(tmp_path / "a.accuracy.jsonl", drawn(120)), GLYPHS)
    header, cells = subnet_columns(GLYPHS, ours.genotypes)
    if not columns:
        header, cells = ["arch"], [[str(arch)] for arch in decode(GLYPHS, ours.genotypes)]
    rows = [[*row, scale * value] for row, value in zip(cells, ours.accuracy.tolist(), strict=True)]
    path = write_rows(tmp_path / "acc.csv", [*header, "accuracy"], *rows, rows[3])
    found = load_measured(path, GLYPHS)
    np.testing.assert_array_equal(found.genotypes, ours.genotypes)
    np.testing.assert_allclose(found.accuracy, ours.accuracy)
    if (columns, scale) != (True, 100):
        return  # the same, so one search will do
    documents = []
    for file in (ours.path, path):
        assert search.main(["--lut", LUT, "--accuracy", str(file), "--latency-ms", "0.1", "--json"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    one, two = (document["results"][0] for document in documents)
    assert one["arch"] == two["arch"] and one["accuracy"] == pytest.approx(two["accuracy"])


ARCH = str(drawn(1, 32)[0])
OTHER = str(drawn(2, 32)[1])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("arch", "accuracy"), (ARCH, "0.5"), (OTHER, "71.2")], "fractions and per cent are mixed"),
        ([("arch", "accuracy"), (ARCH, "100.5")], "line 2: accuracy is '100.5', not a fraction"),
        ([("arch", "accuracy"), (ARCH, "-0.1")], "accuracy is '-0.1'"),
        ([("arch", "accuracy"), (ARCH, "nan")], "accuracy is 'nan'"),
        ([("arch", "accuracy"), (ARCH, "")], "accuracy is ''"),
        ([("arch", "accuracy"), (ARCH, "70 %")], "accuracy is '70 %'"),
        ([("arch", "accuracy"), (ARCH, "0.5"), (OTHER, "0.6"), (ARCH, "0.7")], "line 4: the subnet stands there"),
        ([("arch", "accuracy"), ("r17" + ARCH[3:], "0.5")], "line 2: family glyphs has no resolution 17"),
        ([("arch", "accuracy"), ("resnet", "0.5")], "line 2: not a subnet: 'resnet'"),
        ([("arch", "top1"), (ARCH, "0.5")], "has no column accuracy; it has arch, top1"),
        ([("name", "accuracy"), (ARCH, "0.5")], "lacks r, d0"),
        ([("arch", "accuracy")], "holds no subnets"),
        ([("arch", "accuracy"), (ARCH,)], "line 2: 1 cells, but the header has 2"),
        ([("arch", "accuracy", "accuracy_is"), (ARCH, "0.5", "predicted")], "holds no measured accuracies"),
        ([("arch", "accuracy", "accuracy_is"), (ARCH, "0.5", "guessed")], "accuracy_is is 'guessed'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [search, pareto])
def test_a_csv_that_is_not_right_is_one_line(tmp_path, capsys, command, rows, message) -> None:
    path = write_rows(tmp_path / "acc.csv", *rows)
    assert command.main(["--lut", LUT, "--accuracy", str(path)]) == 2
    assert message in error_of(capsys)


def test_a_few_rows_of_csv_are_too_few(tmp_path, capsys) -> None:
    path = write_rows(tmp_path / "acc.csv", ("arch", "accuracy"), *((str(a), 0.5) for a in drawn(20)))
    assert search.main(["--lut", LUT, "--accuracy", str(path)]) == 2
    assert "acc.csv" in error_of(capsys)


def test_what_we_write_we_read(tmp_path, capsys) -> None:
    """Every CSV of subnets that a command writes goes into every option that takes subnets with such numbers."""
    found, drawn_csv, predicted, model = (
        tmp_path / n for n in ("search.csv", "pareto.csv", "predict.csv", "m.json")
    )
    assert search.main(["--space", "compofa", "--lut", LUT, "--csv", str(found)]) == 0
    assert pareto.main(["--space", "compofa", "--lut", LUT, "--csv", str(drawn_csv)]) == 0
    fitting = [
        "--measured",
        str(drawn_csv),
        "--column",
        "latency_ms",
        "--model",
        "additive",
        "--out",
        str(model),
    ]
    assert fit.main([*fitting, "--samples", "60"]) == 0
    assert predict.main(["--model", str(model), "--subnets", str(found), "--out", str(predicted)]) == 0
    for path in (found, drawn_csv, predicted):
        again = tmp_path / f"again-{path.name}"
        given = ["--model", str(model), "--subnets", str(path), "--out", str(again)]
        # What holds predictions already is refused: which would a reader take?
        assert predict.main(given) == (2 if path == predicted else 0)
        if path != predicted:
            assert len(list(csv.DictReader(again.open()))) == len(list(csv.DictReader(path.open())))
        assert load_measured(path, GLYPHS).origin == AccuracyOrigin()
        assert pareto.main(["--space", "compofa", "--lut", LUT, "--accuracy", str(path)]) == 0
    assert search.main(["--space", "compofa", "--lut", LUT, "--accuracy", str(drawn_csv)]) == 0
    assert "measured (" in capsys.readouterr().out


# --- signs in names ---


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
@pytest.mark.parametrize("device", ["NPU $$x$ \\frac{", "$\\undefined$", "a_b^c <i> & [bold]"])
def test_names_are_text_in_pictures(tmp_path, device, suffix) -> None:
    path, out = table_of(tmp_path / "t.jsonl", device=device), tmp_path / f"p{suffix}"
    assert pareto.main(["--space", "compofa", "--lut", str(path), "--out", str(out)]) == 0
    assert out.stat().st_size > 10_000
