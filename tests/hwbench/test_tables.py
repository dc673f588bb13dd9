"""Tables are converted, shown, filled, merged and compared from the command line; what is wrong is one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from compofa.blocks import Block
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import tables
from hwbench.shipped import reference_table
from lut.formats import read_table, write_table
from lut.table import Table

SMALLEST, SECOND = GLYPHS.resolutions[:2]
COMPOFA = get_space("compofa", GLYPHS)


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:  # type: ignore[type-arg]
    """The JSON of a command that must succeed."""
    assert tables.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "ofa"])
def test_a_table_goes_to_another_format_and_back(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    found = ran(capsys, "convert", built, "--out", tmp_path / name)
    assert found["origins"] == {"measured": found["entries"]}
    assert all(Path(path).is_file() for path in found["written"])
    assert tables.main(["convert", str(tmp_path / name), "--out", str(tmp_path / "back.jsonl")]) == 0
    assert f"{found['entries']} entries, {found['entries']} measured\n" in capsys.readouterr().out
    was, now = Table.load(built), Table.load(tmp_path / "back.jsonl")
    assert {b: m.latency_ms for b, m in now.entries.items()} == {
        b: m.latency_ms for b, m in was.entries.items()
    }
    if name != "ofa":
        assert now == was


def test_show_says_what_a_table_is_of_and_what_it_has(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ran(capsys, "show", built, "--top", 2)
    table = Table.load(built)
    assert found["target"] == table.target.to_dict()
    assert (found["family"], found["entries"]) == ("glyphs", len(table.entries))
    ofa = get_space("ofa", GLYPHS).all_blocks((SMALLEST,))
    assert found["resolutions"] == [
        {
            "resolution": SMALLEST,
            "blocks": len(ofa),
            "measured": len(table.entries),
            "modelled": 0,
            "predicted": 0,
            "failed": 0,
            "missing": len(ofa) - len(table.entries),
        }
    ]
    slowest = max(m.latency_ms for m in table.entries.values())
    assert len(found["slowest"]) == 2 and found["slowest"][0]["latency_ms"] == slowest
    assert tables.main(["show", str(built)]) == 0
    text = capsys.readouterr().out
    assert str(table.target) in text and f"{SMALLEST} px" in text


def test_fill_predicts_another_resolution_and_says_so(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "filled.jsonl"
    found = ran(
        capsys, "fill", built, "--space", "compofa", "--resolutions", f"{SMALLEST},{SECOND}", "--out", out
    )
    was, now = Table.load(built), Table.load(out)
    lacking = set(COMPOFA.all_blocks((SMALLEST, SECOND))) - was.entries.keys()
    assert (found["predicted"], found["from"]) == (len(lacking), len(was.entries))
    assert found["cv_mape_pct"][found["model"]] > 0
    assert {b for b, m in now.entries.items() if m.origin == "predicted"} == lacking
    assert now.complete_resolutions(COMPOFA) == (SMALLEST, SECOND)
    assert all(now.entries[b] == m for b, m in was.entries.items())
    shown = ran(capsys, "show", out)
    assert [row["predicted"] > 0 for row in shown["resolutions"]] == [False, True]


def test_merge_puts_parts_together(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Table.load(built)
    items = list(whole.entries.items())
    for name, part in (("a.jsonl", items[:20]), ("b.csv", items[20:])):
        write_table(replace(whole, entries=dict(part)), tmp_path / name)
    found = ran(capsys, "merge", tmp_path / "a.jsonl", tmp_path / "b.csv", "--out", tmp_path / "m.jsonl")
    assert found["entries"] == len(items)
    merged = read_table(tmp_path / "m.jsonl")
    assert merged.entries == whole.entries
    assert merged.header.digest != whole.header.digest  # a calibration of the parts is none of the whole


def test_diff_fails_when_asked_to_and_only_then(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table.load(built)
    slower = {
        b: replace(m, latency_ms=1.2 * m.latency_ms, low_ms=1.2 * m.low_ms, high_ms=1.2 * m.high_ms)
        for b, m in table.entries.items()
    }
    write_table(replace(table, entries=slower), tmp_path / "slow.csv")
    found = ran(capsys, "diff", built, tmp_path / "slow.csv", "--fail-over", 25)
    assert found["worst_pct"] == pytest.approx(20) and not found["failed"]
    assert found["all"]["median"] == pytest.approx(1.2)
    assert list(found["by_resolution"]) == [str(SMALLEST)]
    assert tables.main(["diff", str(built), str(tmp_path / "slow.csv"), "--fail-over", "10"]) == 1
    shown = capsys.readouterr()
    assert "changed by 20.0 %, more than 10 %" in shown.err and "1.200" in shown.out
    assert tables.main(["diff", str(built), str(built), "--fail-over", "0"]) == 0


def test_what_differs_between_targets_is_told(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table.load(built)
    other = replace(table, header=replace(table.header, target=replace(table.target, threads=2)))
    write_table(other, tmp_path / "o.jsonl")
    assert ran(capsys, "diff", built, tmp_path / "o.jsonl")["target_differences"] == ["threads 1, not 2"]


# --- bad input ---


def test_nothing_is_replaced_unasked(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "t.csv"
    out.write_text("mine")
    assert tables.main(["convert", str(built), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert tables.main(["convert", str(built), "--out", str(out), "--force"]) == 0
    assert read_table(out) == Table.load(built)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["convert", "TABLE", "--out", "x.xlsx"], "no format is called .xlsx"),
        (
            ["convert", "TABLE", "--family", "imagenet-w1.0", "--out", "x.csv"],
            "family glyphs, not of imagenet-w1.0",
        ),
        (["convert", "TABLE", "--family", "resnets", "--out", "x.csv"], "unknown family 'resnets'"),
        (["convert", "TABLE"], "--out"),
        (["convert", "TABLE", "--out", "/nowhere/x.csv"], "cannot write /nowhere/x.csv"),
        (["show", "missing.jsonl"], "missing.jsonl: No such file"),
        (["fill", "TABLE", "--space", "nas", "--out", "x.csv"], "unknown space 'nas'"),
        (["fill", "TABLE", "--resolutions", "17", "--out", "x.csv"], "no resolution 17"),
        (["merge", "TABLE", "OTHER", "--out", "x.csv"], "say --on-conflict first or quieter"),
        (["diff", "TABLE", "TABLE", "--fail-over", "nan"], "'nan' is not a percentage"),
        (["sort", "TABLE"], "invalid choice: 'sort'"),
        ([], "ACTION"),
    ],
)
def test_bad_input_is_one_line(
    built: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    table = Table.load(built)
    other = {
        b: replace(m, latency_ms=2 * m.latency_ms, high_ms=2 * m.high_ms) for b, m in table.entries.items()
    }
    write_table(replace(table, entries=other), tmp_path / "other.jsonl")
    monkeypatch.chdir(tmp_path)
    stand_for = {"TABLE": str(built), "OTHER": "other.jsonl"}
    assert tables.main([stand_for.get(a, a) for a in arguments]) == 2
    shown = capsys.readouterr()
    # A table that was measured beside other tests may be noisy, and says so.
    (error,) = (line for line in shown.err.splitlines() if not line.startswith("warning: "))
    assert shown.out == "" and says in error


def test_without_pyarrow_the_remedy_is_one_line(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert tables.main(["convert", str(built), "--out", str(tmp_path / "t.parquet")]) == 1
    assert "pip install 'hwbench[parquet]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# --- what a table's source did not say ---

REFERENCE = reference_table("glyphs")


def wide(block: Block) -> bool:
    return block.kernel == 7 and block.hidden_channels >= 192


@pytest.fixture
def ten_failed(tmp_path: Path) -> Path:
    """The shipped table with ten blocks marked as ones that the device cannot run, as people mark them."""
    path = tmp_path / "failed.jsonl"
    lines = [json.loads(line) for line in REFERENCE.read_text().splitlines()]
    for line in lines[1:]:
        if wide(Block.from_dict(line["block"])):
            reason = {"block": line["block"], "failed": "not enough bank space"}
            line.clear()
            line.update(reason)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_blocks_that_cannot_run_are_kept_and_never_predicted(
    ten_failed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table.load(ten_failed)
    assert len(table.failures) == 10 and all(map(wide, table.failures))
    path = ten_failed
    for name in ("a.csv", "b.parquet", "c.jsonl"):
        assert ran(capsys, "convert", path, "--out", tmp_path / name)["failures"] == 10
        path = tmp_path / name
    ran(capsys, "merge", path, ten_failed, "--out", tmp_path / "merged.jsonl")
    assert Table.load(tmp_path / "merged.jsonl").failures == table.failures
    shown = ran(capsys, "show", tmp_path / "merged.jsonl")
    assert set(shown["failures"].values()) == {"not enough bank space"}
    assert sum(row["failed"] for row in shown["resolutions"]) >= 10
    assert all(row["missing"] == 0 for row in shown["resolutions"])
    assert tables.main(["show", str(ten_failed), "--top", "2"]) == 0
    text = capsys.readouterr().out
    assert "blocks that cannot run (2 of 10; --top N lists more)" in text and "bank space" in text


def test_fill_predicts_no_block_that_cannot_run(
    ten_failed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table.load(ten_failed)
    here = set(get_space("ofa", GLYPHS).all_blocks((SMALLEST,)))
    entries = dict(
        [(b, m) for b, m in table.entries.items() if b in here][3:]
    )  # few: predicting takes its time
    write_table(replace(table, entries=entries), tmp_path / "t.csv")
    out = tmp_path / "filled.jsonl"
    found = ran(capsys, "fill", tmp_path / "t.csv", "--resolutions", SMALLEST, "--out", out)
    assert found["predicted"] == 3 and found["failures"] == 10
    assert table.failures.keys() & here and Table.load(out).failures == table.failures


def test_the_layout_that_has_no_place_for_them_says_so(
    ten_failed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tables.main(["convert", str(ten_failed), "--out", str(tmp_path / "ofa")]) == 0
    assert "no place for the 10 blocks that cannot run" in capsys.readouterr().err
    assert len(read_table(tmp_path / "ofa").entries) == len(Table.load(ten_failed).entries)


def test_an_entry_that_does_not_fit_is_listed_and_warned_of_on_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table.load(REFERENCE)
    block = list(table.entries)[30]
    m = table.entries[block]
    hundredth = replace(m, latency_ms=m.latency_ms / 100, low_ms=m.low_ms / 100, high_ms=m.high_ms / 100)
    write_table(replace(table, entries=table.entries | {block: hundredth}), tmp_path / "t.csv")
    assert ran(capsys, "show", tmp_path / "t.csv")["odd"][0]["block"] == str(block)
    assert tables.main(["show", str(tmp_path / "t.csv")]) == 0
    assert "entries that do not fit the others (" in capsys.readouterr().out
    assert tables.main(["convert", str(tmp_path / "t.csv"), "--out", str(tmp_path / "t.jsonl")]) == 0
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert f"t.csv: 1 of its 367 entries do not fit the others, the first being {block}: " in warning
    assert tables.main(["convert", str(REFERENCE), "--out", str(tmp_path / "r.jsonl")]) == 0
    assert capsys.readouterr().err == ""


def test_a_kernel_of_7_that_is_faster_than_one_of_3_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "expanded_conv-input:10x10x136-output:10x10x136-expand:408-kernel:{}-stride:1-idskip:1-se:1-hs:1"
    entries = {
        key.format(k): {"count": 800, "mean": ms, "std": 0.05} for k, ms in ((3, 2.4), (5, 1.7), (7, 1.6))
    }
    (tmp_path / "160_lookup_table.json").write_text(json.dumps(entries))
    (odd,) = ran(capsys, "show", tmp_path)["odd"]
    assert "29 % faster than with 3" in odd["reason"]


def test_a_folder_of_other_resolutions_is_replaced_as_a_whole(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tables.main(["convert", str(REFERENCE), "--out", str(tmp_path / "ofa")]) == 0
    assert tables.main(["convert", str(built), "--out", str(tmp_path / "ofa")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert tables.main(["convert", str(built), "--out", str(tmp_path / "ofa"), "--force"]) == 0
    assert [path.name for path in (tmp_path / "ofa").iterdir()] == [f"{SMALLEST}_lookup_table.yaml"]
    assert read_table(tmp_path / "ofa").entries.keys() == Table.load(built).entries.keys()
