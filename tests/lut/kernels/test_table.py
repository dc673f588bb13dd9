"""A table of kernels keeps what was measured, whole lines of it, and refuses what is of something else."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backends.base import Measurement
from compofa.errors import InputError
from compofa.files import FileBusy
from lut.kernels.table import Header, KernelTable, Writer, load


@pytest.fixture
def table(made_table: Callable[..., KernelTable]) -> KernelTable:
    return made_table(networks=3, known=0.5)


def write(path: Path, table: KernelTable) -> None:
    with Writer(path, table.header) as writer:
        writer.append(table.entries, {}, table.networks, table.unmeasured)


def test_what_is_written_is_read(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    write(path, table)
    found = load(path)
    assert found.header == table.header
    assert found.entries.keys() == table.entries.keys() and found.unmeasured == table.unmeasured
    for kernel, m in found.entries.items():
        assert m.latency_ms == pytest.approx(table.entries[kernel].latency_ms, rel=1e-5)
    assert [n.kernels for n in found.networks] == [n.kernels for n in table.networks]


def test_a_packed_table_is_read_and_damage_to_it_named(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    write(path, table)
    packed = tmp_path / "k.jsonl.gz"
    content = gzip.compress(path.read_bytes())
    packed.write_bytes(content)
    assert load(packed).entries == load(path).entries
    packed.write_bytes(content[:-20])
    with pytest.raises(InputError, match="cut off"):
        load(packed)
    packed.write_bytes(content[:20] + b"\xff" * 20 + content[40:])
    with pytest.raises(InputError, match="damaged gzip"):
        load(packed)


def test_a_packed_table_to_which_another_was_added_is_read_whole(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    write(path, table)
    header, *lines = path.read_bytes().splitlines(keepends=True)
    packed = tmp_path / "k.jsonl.gz"
    packed.write_bytes(gzip.compress(header + lines[0]) + gzip.compress(b"".join(lines[1:])))
    assert load(packed).entries == load(path).entries


@pytest.mark.parametrize("content", ['{"only": "copy"}', "notes", '{"format":"hwbench-table","x'])
def test_a_file_of_something_else_is_not_written_over(
    tmp_path: Path, table: KernelTable, content: str
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(InputError, match="not a table of kernels"):
        Writer(path, table.header)
    assert path.read_text() == content


@pytest.mark.parametrize("content", ["", '{"form', '{"format":"hwbench-kernels","schema":1,"cre'])
def test_a_header_that_a_kill_cut_short_is_begun_anew(
    tmp_path: Path, table: KernelTable, content: str
) -> None:
    path = tmp_path / "k.jsonl"
    path.write_text(content)
    write(path, table)
    assert load(path).entries.keys() == table.entries.keys()


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    write(path, table)
    before = path.read_bytes()
    kernel = next(iter(table.unmeasured))
    network = table.networks[0]
    with Writer(path, table.header) as writer:
        with pytest.raises(InputError, match="positive"):
            writer.append({kernel: Measurement("measured", 0.0, 0.0, 0.0)}, {})
        writer.append({}, {}, [replace(network, kernels={}, nodes=0)])  # it folds to a constant
    assert path.read_bytes() == before
    assert len(load(path).networks) == len(table.networks)


def test_a_measurement_is_kept_where_a_later_run_fails(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    write(path, table)
    kernel = next(iter(table.entries))
    with Writer(path, table.header) as writer:
        writer.append({}, {kernel: "out of memory"})
    assert kernel in load(path).entries and kernel not in load(path).failures


def test_only_what_is_new_is_added(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    write(path, table)
    first = path.stat().st_size
    with Writer(path, table.header) as writer:
        assert writer.append(table.entries, {}) == 0
        assert path.stat().st_size == first
        kernel = next(iter(table.unmeasured))
        assert writer.append({kernel: next(iter(table.entries.values()))}, {}) == 1
    found = load(path)
    assert kernel in found.entries and kernel not in found.unmeasured


def test_a_failure_is_kept_until_it_is_measured(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    kernel, m = next(iter(table.entries.items()))
    with Writer(path, table.header) as writer:
        writer.append({}, {kernel: "no such type"})
    assert load(path).failures == {kernel: "no such type"}
    with Writer(path, table.header) as writer:
        writer.append({kernel: m}, {})
    assert not load(path).failures and kernel in load(path).entries


def test_a_torn_line_is_dropped_and_written_over(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    write(path, table)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert len(load(path).unmeasured) + len(load(path).networks) < len(table.unmeasured) + len(table.networks)
    write(path, table)
    assert load(path).entries.keys() == table.entries.keys()


def test_a_digit_that_flipped_is_found(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    write(path, table)
    text = path.read_text(encoding="utf-8").splitlines()
    text[1] = text[1].replace('"latency_ms":', '"latency_ms":1')
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"k\.jsonl, line 2: "):
        load(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a table of kernels"),
        (b'{"format":"hwbench-table","schema":1}\n', "not a table of kernels"),
        (b'{"format":"hwbench-kernels","schema":9}\n', "schema 9"),
        (b"PK\x03\x04\n", "zip archive"),
    ],
)
def test_another_file_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "k.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        load(path)


def test_another_version_of_the_runtime_is_told(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    write(path, table)
    newer = replace(table.target, versions=(("onnxruntime", "9.9"),))
    with pytest.raises(InputError, match=r"another runtime version.*onnxruntime 1.2, not 9.9"):
        Writer(path, Header(newer))
    with pytest.raises(InputError, match="threads 1, not 2"):
        Writer(path, Header(replace(table.target, threads=2)))


def test_one_writes_at_a_time(tmp_path: Path, table: KernelTable) -> None:
    path = tmp_path / "k.jsonl"
    with Writer(path, table.header), pytest.raises(FileBusy):
        Writer(path, table.header)
    assert not path.exists()
