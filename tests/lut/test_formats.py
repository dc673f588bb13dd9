"""The suffix says the format; what is written is whole or not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lut.formats import read_table, write_table
from lut.table import Table


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet", "T.CSV"])
def test_every_format_of_ours_reads_back_equal(table: Table, tmp_path: Path, name: str) -> None:
    assert write_table(table, tmp_path / name) == [tmp_path / name]
    assert read_table(tmp_path / name, "glyphs") == table
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_path_without_suffix_becomes_a_folder_of_ofa_files(table: Table, tmp_path: Path) -> None:
    written = write_table(table, tmp_path / "ofa")
    assert [path.name for path in written] == [f"{r}_lookup_table.yaml" for r in table.family.resolutions]
    back = read_table(tmp_path / "ofa")
    assert {b: m.latency_ms for b, m in back.entries.items()} == pytest.approx(
        {b: m.latency_ms for b, m in table.entries.items()}
    )


def test_what_was_there_is_replaced_but_not_by_half_a_table(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_table(table, path)
    smaller = replace(table, entries=dict(list(table.entries.items())[:3]))
    write_table(smaller, path)
    assert read_table(path) == smaller
    before = path.read_bytes()
    broken = {b: replace(m, latency_ms=-1.0) for b, m in smaller.entries.items()}
    with pytest.raises(ValueError, match="must be positive"):
        write_table(replace(table, entries=broken), path)
    assert path.read_bytes() == before
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "says"),
    [("t.xlsx", "no format is called .xlsx; there are .jsonl, .csv"), ("t.yaml", "give a folder")],
)
def test_another_suffix_is_refused(table: Table, tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        write_table(table, tmp_path / name)


def test_another_family_and_an_empty_table_are_refused(table: Table, tmp_path: Path) -> None:
    write_table(table, tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"is a table of family glyphs, not of imagenet-w1\.0"):
        read_table(tmp_path / "t.csv", "imagenet-w1.0")
    with pytest.raises(ValueError, match="no entry"):
        write_table(replace(table, entries={}), tmp_path / "u.csv")
