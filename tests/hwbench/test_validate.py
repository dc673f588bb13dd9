"""Validating: whole networks decide whether a table is believed."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import fit, validate
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Measurement, Target
from compofa.blocks import total_params
from compofa.network import arch_blocks
from compofa.spaces.layout import decode, encode
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import get_space
from hwbench import plots
from hwbench.validating import measuring, run
from hwbench.validating.subnets import draw_subnets
from lut import store
from lut.calibration import Calibration, calibration_path, load_model
from lut.header import Header
from lut.scores import mape_pct, reference_noise_pct
from lut.subnet_model import SubnetModel
from lut.subnets_csv import TARGET, subnet_columns, write_csv
from lut.table import Table

SMALLEST, SECOND = GLYPHS.resolutions[:2]
SCORES = {"mape_pct", "within_5_pct", "within_10_pct", "spearman"}


def synthetic(target: Target, *spaces: tuple[str, tuple[int, ...]]) -> Table:
    """A table of glyphs that covers the given (space, resolutions)."""
    blocks = {b for name, resolutions in spaces for b in get_space(name, GLYPHS).all_blocks(resolutions)}
    header = Header(target, "glyphs", "ofa", GLYPHS.resolutions, "2026")
    return Table(header, {b: Measurement("modelled", 0.1, 0.1, 0.1) for b in blocks})


def test_scores_picture_and_calibration(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate.main(["--lut", str(copy), "--subnets", "12", "--force-calibration", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["n"] == 12
    for key in ("raw", "calibrated"):
        assert set(document[key]) == SCORES
        assert document[key]["mape_pct"] >= 0
        assert document[key]["within_5_pct"] <= document[key]["within_10_pct"] <= 100
    assert document["repeatability_pct"] >= 0
    assert document["target"] == Table.load(copy).target.to_dict() == document["measured_on"]
    assert Path(document["picture"]).read_bytes().startswith(b"\x89PNG")
    calibration = Calibration.load(Path(document["calibration"]), Table.load(copy))
    assert len(set(calibration.archs)) == 12
    assert load_model(copy).calibrated
    assert dict(load_model(copy).coefficients) == document["model"]


def test_what_was_measured_can_be_learned_from(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, model = tmp_path / "s.csv", tmp_path / "m.json"
    assert (
        validate.main(
            ["--lut", str(copy), "--subnets", "20", "--force-calibration", "--csv", str(measured), "--json"]
        )
        == 0
    )
    calibration = Calibration.load(Path(json.loads(capsys.readouterr().out)["calibration"]), Table.load(copy))
    given = [
        "--measured",
        str(measured),
        "--column",
        "measured_ms",
        "--model",
        "additive",
        "--out",
        str(model),
    ]
    assert fit.main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == str(Table.load(copy).target)
    learned = SubnetModel.load(model)
    assert decode(GLYPHS, learned.genotypes) == list(calibration.archs)
    np.testing.assert_allclose(learned.latency_ms, calibration.measured_ms, rtol=1e-5)


def recorded_elsewhere(path: Path) -> None:
    """Rewrite the header as if another version had measured the table."""
    header, entries = store.read(path)
    path.unlink()
    with store.Writer(
        path, replace(header, target=replace(header.target, versions=(("onnxruntime", "0.1"),)))
    ) as writer:
        writer.append(entries.items())


def test_a_table_of_another_target_is_refused_unless_forced(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded_elsewhere(copy)
    assert validate.main(["--lut", str(copy), "--subnets", "10"]) == 2
    refusal = capsys.readouterr().err
    assert "onnxruntime 0.1, not " in refusal
    assert "--force-target" in refusal
    assert refusal.count("\n") == 1
    assert validate.main(["--lut", str(copy), "--subnets", "10", "--force-target"]) == 0
    shown = capsys.readouterr()
    assert "warning: the table is of another target" in shown.err
    assert all(word in shown.out for word in ("MAPE", "Spearman", "raw sum", "repeatability", "not kept"))
    assert not calibration_path(copy).exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--subnets", "3"], "--subnets must be 10 to 243 here, not 3"),
        (["--subnets", "244"], "--subnets must be 10 to 243 here, not 244"),
        (["--space", "ofa"], "covers space ofa at no resolution; finish it with build_lut"),
        (["--space", "nas"], "unknown space 'nas'"),
        (["--out", "p.bmp"], "must end in one of .png, .svg, .pdf"),
        (["--out", "/nowhere/p.png"], "cannot write /nowhere/p.png"),
        (["--lut", "/nowhere/t.jsonl"], "/nowhere/t.jsonl: No such file"),
    ],
)
def test_bad_input_is_one_line(
    built: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], instead: Any
) -> None:
    assert validate.main(instead(["--lut", str(built)], arguments)) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert shown.count("\n") == 1


def test_without_a_table_it_says_how_to_build_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    assert validate.main([]) == 2
    assert "run hwbench build_lut --family glyphs" in capsys.readouterr().err


@given(seed=st.integers(0, 2**32), count=st.integers(10, 60), name=st.sampled_from(["ofa", "compofa"]))
@settings(max_examples=20, deadline=None)
def test_subnets_are_distinct_and_the_table_can_answer_for_them(seed: int, count: int, name: str) -> None:
    table = synthetic(Target("none", "nowhere"), (name, (SMALLEST, SECOND)))
    space = get_space(name, GLYPHS)
    archs = draw_subnets(table, space, count, np.random.default_rng(seed))
    assert len(set(archs)) == len(archs) == count
    assert all(space.contains(arch) for arch in archs)
    assert all(table.latency_ms(arch_blocks(GLYPHS, arch)) > 0 for arch in archs)


def test_all_of_a_small_space_may_be_drawn() -> None:
    table = synthetic(Target("none", "nowhere"), ("compofa", (SMALLEST,)))
    space = get_space("compofa", GLYPHS)
    archs = draw_subnets(table, space, 243, np.random.default_rng(0))
    assert set(archs) == set(space.enumerate((SMALLEST,)))


def test_networks_are_measured_in_groups_that_fit_the_memory() -> None:
    family = get_family("imagenet-w1.2")
    space, rng = get_space("ofa", family), np.random.default_rng(0)
    networks = [space.blocks(space.sample(rng)) for _ in range(30)]
    order = rng.permutation(30).tolist()
    groups = measuring._groups(order, networks)
    assert [i for group in groups for i in group] == order
    sizes = [sum(total_params(networks[i]) for i in group) for group in groups]
    assert all(size <= measuring.MAX_PARAMS_AT_ONCE for size in sizes)
    assert 1 < len(groups) < 15


def test_ctrl_c_in_the_middle_of_a_validation(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "_one_pass", interrupted)
    assert validate.main(["--lut", str(copy), "--subnets", "10"]) == 130
    assert "measures everything twice or says nothing" in capsys.readouterr().err
    assert not calibration_path(copy).exists()


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_picture_has_the_format_of_its_name(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"p.{suffix}"
    measured = np.linspace(1, 2, 12)
    panels = [
        plots.Panel("raw sum", measured * 0.9, 10.0, 1.0),
        plots.Panel("calibrated", measured, 0.0, None),
    ]
    plots.draw_validation(path, measured_ms=measured, panels=panels, title="title", target="target")
    assert path.read_bytes().startswith(magic)


# --- keeping what was measured, and only what is to be trusted ---


def true_table(path: Path) -> Table:
    """A table of all of glyphs that nobody here can measure, written to `path`."""
    blocks = get_space("ofa", GLYPHS).all_blocks()
    header = Header(Target("elsewhere", "a phone"), "glyphs", "ofa", GLYPHS.resolutions, "2026")
    with store.Writer(path, header) as writer:
        for block in blocks:
            ms = 0.01 + block.macs / 1e7
            writer.append([(block, Measurement("measured", ms, ms, ms))])
    return Table.load(path)


def write_networks(
    path: Path, table: Table, count: int, target: str = "", noise: float = 0.005
) -> Calibration:
    """A CSV of `count` subnets that take 1.3 x the table's sum, give or take `noise`."""
    rng, space = np.random.default_rng(count), get_space("ofa", GLYPHS)
    archs = [space.sample(rng) for _ in range(count)]
    sums = np.array([table.latency_ms(arch_blocks(GLYPHS, arch)) for arch in archs])
    header, cells = subnet_columns(GLYPHS, encode(GLYPHS, archs))
    extra = [TARGET] if target else []
    rows = [[*row, *([target] if target else [])] for row in cells]
    latency = 1.3 * sums * rng.normal(1, noise, count) if noise < 1 else rng.uniform(1, 2, count)
    write_csv(path, [*header, *extra], rows, {"measured_ms": latency})
    return Calibration(table, tuple(archs), tuple(latency.tolist()))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "phone.jsonl"
    true_table(path)
    return path


@pytest.fixture
def phone(foreign: Path, tmp_path: Path) -> Path:
    path = tmp_path / "phone.jsonl"
    path.write_bytes(foreign.read_bytes())
    return path


def test_networks_that_were_measured_elsewhere_calibrate_a_foreign_table(
    phone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "networks.csv"
    given = write_networks(csv, Table.load(phone), 14, target=str(Table.load(phone).target))
    assert validate.main(["--lut", str(phone), "--measured", str(csv), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["n"] == 14 and document["origin"] == "measured"
    assert document["calibrated"]["mape_pct"] < 1 < 20 < document["raw"]["mape_pct"]
    assert document["repeatability_pct"] is document["noise_pct"] is document["limit"] is None
    assert 0.3 < document["within_95_pct"] < 3
    model = load_model(phone)
    assert model.calibrated
    np.testing.assert_allclose(
        [model.latency_ms(network) for network in given.networks], given.measured_ms, rtol=0.03
    )
    assert Calibration.load(calibration_path(phone), Table.load(phone)).second_ms == ()


@pytest.mark.parametrize(
    ("change", "arguments", "says"),
    [
        (lambda text: text, ["--column", "gpu_ms"], "has no column 'gpu_ms'"),
        (lambda text: "".join(text.splitlines(True)[:5]), [], "holds 4 subnets; a calibration needs 10"),
        (lambda text: text + text.splitlines(True)[-1], [], "more than once"),
        (lambda text: text.replace("a phone", "another phone"), [], "is of another phone"),
        (lambda text: text.replace(",0.", ",-0."), [], "not a positive number"),
    ],
)
def test_measurements_that_cannot_be_of_the_table_are_refused(
    phone: Path, tmp_path: Path, change, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "networks.csv"
    write_networks(csv, Table.load(phone), 12, target=str(Table.load(phone).target))
    csv.write_text(change(csv.read_text()))
    assert validate.main(["--lut", str(phone), "--measured", str(csv), *arguments]) == 2
    shown = capsys.readouterr().err
    assert says in shown and shown.count("\n") == 1
    assert not calibration_path(phone).exists()


def test_fewer_subnets_do_not_take_the_place_of_more(
    phone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(count: int, *arguments: str) -> str:
        csv = tmp_path / f"{count}.csv"
        write_networks(csv, Table.load(phone), count)
        assert validate.main(["--lut", str(phone), "--measured", str(csv), *arguments]) == 0
        return capsys.readouterr().err

    def kept() -> int:
        return len(Calibration.load(calibration_path(phone), Table.load(phone)).archs)

    assert run(12) == "" and kept() == 12
    assert run(14) == "" and kept() == 14
    refused = run(12)
    assert "rests on 14 subnets, this one on 12" in refused and "--force-calibration" in refused
    assert kept() == 14
    assert run(12, "--force-calibration") == "" and kept() == 12


def test_what_is_not_to_be_trusted_is_neither_kept_nor_used(
    phone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "luck.csv"
    write_networks(csv, Table.load(phone), 12, noise=9)
    given = ["--lut", str(phone), "--measured", str(csv)]
    assert validate.main(given) == 0
    shown = capsys.readouterr()
    assert "not trusted" in shown.out and "below 0.7" in shown.err
    assert not calibration_path(phone).exists()
    assert validate.main([*given, "--force-calibration"]) == 0
    model = load_model(phone)
    assert not model.calibrated and "is not used: the rank correlation" in (model.caution or "")
    assert load_model(phone, force=True).calibrated


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "somewhere")


def test_a_csv_that_cannot_be_written_takes_no_calibration_along(
    phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "networks.csv"
    write_networks(csv, Table.load(phone), 12)
    monkeypatch.setattr(run, "write_measured", full)
    monkeypatch.setattr(run.Validation, "draw", full)
    given = ["--lut", str(phone), "--measured", str(csv), "--csv", str(tmp_path / "out.csv")]
    assert validate.main(given) == 1
    shown = capsys.readouterr()
    assert load_model(phone).calibrated
    assert "calibrated, leave-one-out" in shown.out
    assert shown.err.count("No space left on device") == 2


def test_what_took_long_to_measure_survives_a_full_disk(
    phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "networks.csv"
    write_networks(csv, Table.load(phone), 12)
    rescue = tmp_path / "rescue"
    rescue.mkdir()
    monkeypatch.setattr(run.tempfile, "gettempdir", lambda: str(rescue))
    save = Calibration.save
    monkeypatch.setattr(
        Calibration,
        "save",
        lambda self, path: full() if path == calibration_path(phone) else save(self, path),
    )
    assert validate.main(["--lut", str(phone), "--measured", str(csv)]) == 1
    assert "move it beside the table" in capsys.readouterr().err
    assert Calibration.load(rescue / calibration_path(phone).name, Table.load(phone)).archs
    assert not calibration_path(phone).exists()


def test_a_table_timed_by_an_older_version_is_still_validated(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, entries = store.read(copy)
    details = tuple((n, value) for n, value in header.target.details if n not in ("timing", "clock"))
    copy.unlink()
    with store.Writer(copy, replace(header, target=replace(header.target, details=details))) as writer:
        writer.append(entries.items())
    assert validate.main(["--lut", str(copy), "--subnets", "10", "--force-calibration"]) == 0
    assert "timed by an older version" in capsys.readouterr().err
    assert load_model(copy, force=True).calibrated


def test_true_latencies_score_the_noise_that_is_told() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 3, 4000)
    first, second = (truth * rng.normal(1, 0.02, len(truth)) for _ in range(2))
    noise = reference_noise_pct(first, second)
    assert noise == pytest.approx(mape_pct((first + second) / 2, truth), rel=0.05)
    assert noise == pytest.approx(mape_pct(first, second) / 2, rel=0.05)
    assert run.limit(noise, noise) == "machine" == run.limit(1.2 * noise, noise)
    assert run.limit(3 * noise, noise) == "model" and run.limit(1.0, None) is None
