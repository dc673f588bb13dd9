"""A table file says what it is of, survives a kill at any byte, and refuses what it cannot trust."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Measurement, Target
from compofa.files import FileBusy
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut import store
from lut.header import Header
from lut.paths import default_path

TARGET = Target("onnxruntime", "A Processor @ 3 GHz", versions=(("onnxruntime", "1.20"),))
HEADER = Header(
    TARGET, "glyphs", "compofa", GLYPHS.resolutions[:1], "2026-01-01T00:00:00.000+00:00", {"cores": 2}
)
BLOCKS = get_space("compofa", GLYPHS).all_blocks(GLYPHS.resolutions[:1])


def measured(latency_ms: float) -> Measurement:
    rounds = (latency_ms, latency_ms * 1.01)
    return Measurement("measured", latency_ms, latency_ms, latency_ms * 1.01, rounds)


ENTRIES = {block: measured(0.01 + 0.001 * i) for i, block in enumerate(BLOCKS[:6])}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    with store.Writer(path, HEADER) as writer:
        writer.append(ENTRIES.items())
    return path


def test_what_is_written_is_read(table: Path) -> None:
    assert store.read(table) == (HEADER, ENTRIES)
    assert store.read_header(table) == HEADER


@given(
    latency=st.floats(1e-6, 1e6),
    rounds=st.lists(st.floats(-1e3, 1e3), max_size=4),
    noisy=st.booleans(),
    cycles=st.none() | st.integers(1, 10**12),
)
def test_any_measurement_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    latency: float,
    rounds: list[float],
    noisy: bool,
    cycles: int | None,
) -> None:
    path = tmp_path_factory.mktemp("any") / "t.jsonl"
    entry = {BLOCKS[0]: Measurement("modelled", latency, latency / 2, latency, tuple(rounds), noisy, cycles)}
    with store.Writer(path, HEADER) as writer:
        writer.append(entry.items())
    assert store.read(path)[1] == entry


@given(data=st.data())
def test_cut_anywhere_a_file_loses_its_torn_line_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "t.jsonl"
    with store.Writer(path, HEADER) as writer:
        writer.append(ENTRIES.items())
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = max(content[:cut].count(b"\n") - 1, 0)
    with store.Writer(path, HEADER) as writer:
        assert list(writer.entries) == list(ENTRIES)[:whole]
        writer.append((b, m) for b, m in ENTRIES.items() if b not in writer.entries)
    assert path.read_bytes() == content


def test_reading_does_not_need_the_torn_line_dropped(table: Path) -> None:
    content = table.read_bytes()
    table.write_bytes(content[:-5])
    assert len(store.read(table)[1]) == len(ENTRIES) - 1
    assert table.read_bytes() == content[:-5]


def test_resuming_keeps_the_first_header(table: Path) -> None:
    with store.Writer(table, replace(HEADER, space="ofa", created="2027")) as writer:
        assert (writer.header, writer.entries) == (HEADER, ENTRIES)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (replace(HEADER, family="imagenet-w1.0"), "family glyphs, not imagenet-w1.0"),
        (replace(HEADER, target=replace(TARGET, threads=2)), "threads 1, not 2"),
        (
            replace(HEADER, target=replace(TARGET, versions=(("onnxruntime", "1.21"),))),
            "onnxruntime 1.20, not 1.21",
        ),
    ],
)
def test_a_table_of_something_else_is_not_resumed(table: Path, other: Header, says: str) -> None:
    before = table.read_bytes()
    with pytest.raises(ValueError, match=says):
        store.Writer(table, other)
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a zip", b"[1, 2]\n", b"name,ms\nconv,3\n", b'{"a": 1}\n', b"\xff\n"]
)
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    for attempt in (lambda: store.read(path), lambda: store.Writer(path, HEADER)):
        with pytest.raises(ValueError, match=r"foreign, line 1: not"):
            attempt()
    assert path.read_bytes() == content


def test_an_empty_file_is_no_table_but_may_become_one(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.touch()
    with pytest.raises(ValueError, match="empty"):
        store.read(path)
    with store.Writer(path, HEADER) as writer:
        writer.append(ENTRIES.items())
    assert store.read(path) == (HEADER, ENTRIES)


def test_a_build_that_fails_before_its_first_entry_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with store.Writer(path, HEADER):
        assert path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == []
    with store.Writer(path, HEADER) as writer:  # nor is anything in the way of the next one
        writer.append(ENTRIES.items())


def test_what_came_to_the_disk_unknown_to_the_writer_stays(table: Path) -> None:
    """Ctrl-C between the write and the writer's knowing of it."""
    content = table.read_bytes()
    table.unlink()
    with store.Writer(table, HEADER):
        table.write_bytes(content)
    assert store.read(table) == (HEADER, ENTRIES)


def test_a_header_cut_short_is_refused_by_readers(table: Path) -> None:
    table.write_bytes(table.read_bytes()[:60])
    with pytest.raises(ValueError, match="line 1: the header is cut short"):
        store.read(table)


def test_a_newer_schema_is_refused(table: Path) -> None:
    table.write_bytes(table.read_bytes().replace(b'"schema":1', b'"schema":2'))
    with pytest.raises(ValueError, match="line 1: schema 2; this version of hwbench reads schema 1"):
        store.read(table)


@pytest.mark.parametrize("latency", ["-1.5", "0", "NaN", "Infinity", "-Infinity", '"fast"', "null", "true"])
def test_a_latency_that_is_none_is_refused_with_its_line(table: Path, latency: str) -> None:
    lines = table.read_text().splitlines(keepends=True)
    fields = json.loads(lines[3])
    fields["latency_ms"] = "HERE"
    lines[3] = json.dumps(fields).replace('"HERE"', latency) + "\n"
    table.write_text("".join(lines))
    with pytest.raises(ValueError, match=r"t\.jsonl, line 4: .*(latency|is no number)"):
        store.read(table)


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "3", '{"block": {}}', '{"block": 3}', "\0\0\0", '{"block": {"kind": "conv"}}']
)
def test_a_broken_line_in_the_middle_is_refused(table: Path, line: str) -> None:
    lines = table.read_text().splitlines()
    lines[2] = line
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"t\.jsonl, line 3: "):
        store.read(table)


def test_a_block_that_comes_twice_is_refused(table: Path) -> None:
    line = table.read_bytes().splitlines(keepends=True)[1]
    with table.open("ab") as file:
        file.write(line)
    with pytest.raises(ValueError, match=rf"line {len(ENTRIES) + 2}: .* twice"):
        store.read(table)


def predicted(latency_ms: float) -> Measurement:
    return Measurement("predicted", latency_ms, 0.5 * latency_ms, 2 * latency_ms)


def test_a_prediction_is_replaced_by_what_comes_later_and_replaces_nothing(table: Path) -> None:
    block, other = BLOCKS[7], BLOCKS[0]
    with store.Writer(table, HEADER) as writer:
        for entry in (predicted(1.0), predicted(2.0), measured(3.0)):
            writer.append([(block, entry)])
            assert store.read(table)[1] == writer.entries == {**ENTRIES, block: entry}
        for late in (predicted(1.0), measured(1.0)):
            with pytest.raises(ValueError, match="already"):
                writer.append([(block, late)])
        with pytest.raises(ValueError, match="already"):
            writer.append([(other, predicted(1.0))])
    with table.open("ab") as file:
        late_fields = {**asdict(predicted(1.0)), "details": {}}
        file.write(json.dumps({"block": other.to_dict(), **late_fields}).encode() + b"\n")
    with pytest.raises(ValueError, match="twice"):
        store.read(table)


def test_the_order_is_the_same_whoever_reads(table: Path) -> None:
    with store.Writer(table, HEADER) as writer:
        writer.append([(BLOCKS[7], predicted(1.0)), (BLOCKS[8], measured(2.0))])
        writer.append([(BLOCKS[7], measured(3.0))])
        assert list(store.read(table)[1]) == list(writer.entries) == [*ENTRIES, BLOCKS[8], BLOCKS[7]]


def test_a_writer_refuses_a_block_that_is_there_and_a_latency_that_is_none(table: Path) -> None:
    before = table.read_bytes()
    with store.Writer(table, HEADER) as writer:
        with pytest.raises(ValueError, match="already"):
            writer.append([(BLOCKS[0], measured(1.0))])
        for bad in (0.0, -1.0, math.nan, math.inf):
            with pytest.raises(ValueError, match="latency"):
                writer.append([(BLOCKS[7], measured(1.0)), (BLOCKS[8], measured(bad))])
        assert writer.entries == ENTRIES
    assert table.read_bytes() == before


def test_a_second_writer_is_refused_until_the_first_is_gone(table: Path) -> None:
    with store.Writer(table, HEADER):
        with pytest.raises(FileBusy, match="another process"):
            store.Writer(table, HEADER)
        assert store.read(table)[1] == ENTRIES
    store.Writer(table, HEADER).close()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from lut import store
from lut.header import Header
from lut.paths import default_path
from tests_store import ENTRIES, HEADER
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
with store.Writer(path, HEADER) as writer:
    first, *rest = ENTRIES.items()
    writer.append([first])
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
    try:
        writer.append(rest)
    except OSError as error:
        print(error.filename, error.strerror)
    assert len(writer.entries) == 1
"""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A limit on the file's size stops a write in the middle, as a full disk does."""
    path = tmp_path / "t.jsonl"
    (tmp_path / "tests_store.py").write_text(Path(__file__).read_text())
    search = os.pathsep.join((str(tmp_path), str(Path(__file__).parents[2])))
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{path} File too large"
    assert list(store.read(path)[1].items()) == list(ENTRIES.items())[:1]
    assert path.read_bytes().endswith(b"\n")


def test_the_digest_tells_tables_apart_and_does_not_change_with_growth(table: Path) -> None:
    before = store.read_header(table).digest
    with store.Writer(table, HEADER) as writer:
        writer.append([(BLOCKS[7], measured(1.0))])
    assert store.read_header(table).digest == before == HEADER.digest
    assert replace(HEADER, created="2027").digest != before


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    path = default_path(TARGET, "glyphs")
    assert path.parent == tmp_path / "tables"
    assert re.fullmatch(r"glyphs-onnxruntime-a-processor-3-ghz-fp32-b1-t1-[0-9a-f]{8}\.jsonl", path.name)


def test_targets_that_differ_have_default_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whichever field, be it one that only the hash tells; options are told to people as well."""
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    assert {f.name for f in fields(Target)} == CHANGED_TARGET.keys(), "a new field must count, too"
    targets = [TARGET, *(replace(TARGET, **{name: value}) for name, value in CHANGED_TARGET.items())]
    paths = {default_path(target, "glyphs") for target in targets}
    assert len(paths) == len(targets) == 8
    assert default_path(Target.from_dict(TARGET.to_dict()), "glyphs") in paths
    tuned = default_path(TARGET, "glyphs", {"tune": "64", "target": "boards/Rock 5.toml"})
    assert "-t1-target-boards-rock-5-toml-tune-64-" in tuned.name
    long = default_path(TARGET, "glyphs", {"target": "far/" * 200})
    long.parent.mkdir()
    long.touch()


CHANGED_TARGET = {
    "backend": "tvm",
    "device": "A (processor) 3 GHz!",  # reads the same in a name
    "precision": "int8",
    "batch": 8,
    "threads": 2,
    "versions": (("onnxruntime", "0.1"),),
    "details": (("provider", "another"),),
}


def test_entries_are_lines_that_a_person_can_read(table: Path) -> None:
    block, measurement = next(iter(ENTRIES.items()))
    line = json.loads(table.read_text().splitlines()[1])
    fields = {name: value for name, value in asdict(measurement).items() if name != "details"}
    assert re.fullmatch("[0-9a-f]{8}", line.pop("crc32"))
    assert line == {"block": block.to_dict(), **fields, "rounds_ms": list(measurement.rounds_ms)}


# --- what could not be measured, and what else was found ---


def test_a_block_that_could_not_be_run_is_missing_and_says_why(table: Path) -> None:
    failed = BLOCKS[7]
    with store.Writer(table, HEADER) as writer:
        writer.append_failures({failed: "out of memory"})
        writer.append_failures({failed: "out of memory"})  # tried again to no avail
    assert store.read(table) == (HEADER, ENTRIES)
    assert store.read_failures(table) == {failed: "out of memory"}
    assert table.read_bytes().count(b"out of memory") == 1


def test_a_later_word_on_a_block_holds(table: Path) -> None:
    failed = BLOCKS[7]
    with store.Writer(table, HEADER) as writer:
        writer.append_failures({failed: "out of memory"})
        writer.append([(failed, measured(0.5))])
        assert writer.failures == {}
    assert store.read_failures(table) == {}
    assert store.read(table)[1][failed] == measured(0.5)
    with store.Writer(table, HEADER) as writer:
        assert writer.failures == {} and failed in writer.entries


def test_details_of_a_measurement_are_kept_and_cost_nothing_where_there_are_none(table: Path) -> None:
    assert b"details" not in table.read_bytes().split(b"\n", 1)[1]
    details = (("alone_ms", 0.25), ("held_back", "power cap"))
    with store.Writer(table, HEADER) as writer:
        writer.append([(BLOCKS[7], replace(measured(0.5), details=details))])
    assert store.read(table)[1][BLOCKS[7]].details == details


def test_a_detail_in_milliseconds_is_a_finite_number(table: Path) -> None:
    with (
        store.Writer(table, HEADER) as writer,
        pytest.raises(ValueError, match="finite number of milliseconds"),
    ):
        writer.append([(BLOCKS[7], replace(measured(0.5), details=(("alone_ms", math.nan),)))])


# --- damage ---


def test_a_latency_outside_its_own_interval_is_refused(table: Path) -> None:
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    lines[2] |= {"latency_ms": 0.5, "low_ms": 0.6, "high_ms": 0.7}
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(
        ValueError, match=r"line 3: the latency, 0\.5 ms, lies outside its own interval, 0\.6 to"
    ):
        store.read(table)
    with (
        store.Writer(table.with_name("u.jsonl"), HEADER) as writer,
        pytest.raises(ValueError, match="outside its own interval"),
    ):
        writer.append([(BLOCKS[0], Measurement("measured", 0.5, 0.6, 0.7))])


def test_any_changed_digit_is_told_by_the_checksum(table: Path) -> None:
    """Of an entry and of the header; what no rule could tell."""
    content = table.read_text()
    digits = [i for i, c in enumerate(content) if c in "12345678" and "crc" not in content[i - 4 : i]]
    refused = 0
    for i in digits[:: len(digits) // 60]:
        table.write_text(content[:i] + str(int(content[i]) + 1) + content[i + 1 :])
        try:
            found = store.read(table)
        except ValueError:
            refused += 1
        else:
            assert found == (HEADER, ENTRIES)  # a digit beyond what a float holds
    assert refused > 50


def test_lines_without_a_checksum_are_taken_as_they_are(table: Path) -> None:
    """Version 0.1.0 wrote none."""
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    table.write_text("".join(json.dumps({k: v for k, v in o.items() if k != "crc32"}) + "\n" for o in lines))
    assert store.read(table) == (HEADER, ENTRIES)


@pytest.mark.parametrize("ends", ["\r", " ", "", "\r\r", "\u2028"])
def test_a_table_whose_newlines_are_gone_is_refused_and_left_alone(table: Path, ends: str) -> None:
    """With all of them, with the last one kept, with the header's kept: a build on it would wipe its entries."""
    header, *lines = table.read_text().splitlines()
    for text in (
        ends.join((header, *lines)),
        ends.join((header, *lines)) + "\n",
        header + "\n" + ends.join(lines),
    ):
        table.write_bytes(text.encode())
        for attempt in (lambda: store.read(table), lambda: store.Writer(table, HEADER)):
            with pytest.raises(ValueError, match=r"t\.jsonl, line \d: "):
                attempt()
        assert table.read_bytes() == text.encode()


def test_windows_ends_of_lines_are_read_and_added_to(table: Path) -> None:
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))
    with store.Writer(table, HEADER) as writer:
        writer.append([(BLOCKS[7], measured(1.0))])
    assert store.read(table) == (HEADER, {**ENTRIES, BLOCKS[7]: measured(1.0)})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"latency_ms": 10**400}, "finite number"),
        ({"rounds_ms": [1.0, "x"]}, "finite number"),
        ({"rounds_ms": 3}, "not an entry"),
        ({"noisy": "no"}, "noisy is true or false"),
        ({"cycles": 1.5}, "no number of cycles"),
        ({"cycles": 10**30}, "no number of cycles"),
        ({"details": {"std_ms": 10**400}}, "finite number"),
        ({"details": [1]}, "not an entry"),
        ({"resolution": "16"}, "no resolution"),
        ({"extra": 1}, "not an entry"),
    ],
)
def test_fields_of_another_type_or_size_are_refused(
    table: Path, change: dict[str, object], says: str
) -> None:
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    lines[2] |= change
    del lines[2]["crc32"]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match=rf"t\.jsonl, line 3: .*{says}"):
        store.read(table)


def test_hostile_lines_are_refused_in_no_time(table: Path) -> None:
    header, entry, *_ = table.read_text().splitlines()
    twice = entry[:-1] + ',"latency_ms":5.0}'
    wide = entry.replace('"out_channels":', '"out_channels":1' + "0" * 400)
    for line, says in (
        ("[" * 100_000, "nested too deep|not JSON"),
        ('{"block":' * 50_000, "nested too deep|not JSON"),
        (twice, "'latency_ms' is there twice"),
        (entry.replace('"latency_ms":', '"latency_ms":' + "9" * 5000), "not JSON|finite number"),
        (wide, "none of any network"),
    ):
        table.write_text(f"{header}\n{line}\n")
        with pytest.raises(ValueError, match=rf"line 2: .*({says})"):
            store.read(table)


def test_a_failure_takes_the_place_of_a_prediction(table: Path) -> None:
    block = BLOCKS[7]
    with store.Writer(table, HEADER) as writer:
        writer.append([(block, predicted(1.0))])
        writer.append_failures({block: "out of memory"})
        assert block not in writer.entries
    assert store.read(table)[1] == ENTRIES and store.read_failures(table) == {block: "out of memory"}


def test_the_classes_of_a_header_are_kept_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    ten = replace(HEADER, classes=10)
    with store.Writer(path, ten) as writer:
        writer.append(ENTRIES.items())
    assert store.read_header(path) == ten and ten.digest != HEADER.digest
    assert "classes" not in HEADER.to_dict()  # so that old tables keep their digest
    with pytest.raises(ValueError, match="family glyphs with 10 classes, not glyphs"):
        store.Writer(path, HEADER)
