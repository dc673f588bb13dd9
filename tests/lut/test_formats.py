"""The suffix says the format; what is written is whole or not there."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from compofa.files import FileBusy
from lut import store
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


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
def test_a_file_that_a_build_adds_to_is_not_replaced(table: Table, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with store.Writer(path, table.header) as writer:
        writer.append(list(table.entries.items())[:3])
        with pytest.raises(FileBusy, match="being written by another process"):
            write_table(table, path)
        writer.append(list(table.entries.items())[3:5])
    assert len(Table.load(path).entries) == 5
    assert list(tmp_path.iterdir()) == [path]


PROFILE = [{"count": 100}, {"name": "conv1", "timeMs": 1.5, "averageMs": 0.5, "percentage": 100}]
TIMES = [{"startComputeMs": 1.0, "latencyMs": 0.5, "enqMs": 0.1}]
AUTOTVM = {"input": ["llvm", "conv2d"], "config": {"index": 1}, "result": [[0.1], 0, 1.0, 2], "version": 0.2}
FOREIGN = {
    "trtexec's profile": (json.dumps(PROFILE, indent=2).encode(), "layer profile of trtexec"),
    "trtexec's times": (json.dumps(TIMES).encode(), "times of one network by trtexec"),
    "AutoTVM": (b"\n".join([json.dumps(AUTOTVM).encode()] * 2), "tuning log of AutoTVM"),
    "pickle": (pickle.dumps({"model": 1}), "a pickle .* could run code and is never read"),
    "old pickle": (pickle.dumps({"model": 1}, protocol=0), "a pickle .* could run code and is never read"),
    "PyTorch": (b"PK\x03\x04\0\0archive/data.pkl", "a PyTorch checkpoint, which holds a pickle"),
    "SQLite": (b"SQLite format 3\0\x10\0", "an SQLite database"),
    "ONNX": (b"\x08\x08\x12\x07pytorch:\x01", "an ONNX model"),
    "zip": (b"PK\x03\x04\x14", "a zip archive: unpack it"),
    "gzip": (gzip.compress(b"x"), "a gzip archive: unpack it"),
    "HTML": (b"\n<!DOCTYPE html><html>", "a web page: download the file itself"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "UTF-16": ("a: 1".encode("utf-16"), "text in UTF-16: save it as UTF-8"),
    "safetensors": ((60).to_bytes(8, "little") + b'{"a":', "a safetensors file"),
    "another file of ours": (b'{"format":"hwbench-accuracy","schema":1}\n', "format hwbench-accuracy"),
}


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet", "t.yaml", "t.json", "t"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_is_named_for_what_it_is(tmp_path: Path, kind: str, name: str) -> None:
    """Whatever its suffix claims; it is neither executed nor changed."""
    content, says = FOREIGN[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*{says}"):
        read_table(path)
    assert path.read_bytes() == content


def test_files_follow_the_umask(table: Table, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        for name in ("t.jsonl", "t.csv", "t.parquet", "ofa"):
            for path in write_table(table, tmp_path / name):
                assert path.stat().st_mode & 0o777 == 0o640, path
        assert (tmp_path / "ofa").stat().st_mode & 0o777 == 0o750
    finally:
        os.umask(before)
