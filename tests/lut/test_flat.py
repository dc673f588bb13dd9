"""Flat rows say everything and lose nothing; a row that is wrong is refused by its number."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Measurement, Target
from compofa.blocks import KINDS, Block
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut.formats.csv_rows import read_csv, write_csv
from lut.formats.flat import rows
from lut.formats.parquet import read_parquet, write_parquet
from lut.header import Header
from lut.table import Table

GOLDEN = Path(__file__).parent / "golden"
BLOCKS = get_space("ofa", GLYPHS).all_blocks((16,))
HEADER = Header(
    Target("none", 'A, "Quoted" Device', "int8", 2, 0, (("a", "1"), ("b", "2")), (("mode", "x=y;z"),)),
    "glyphs",
    "ofa",
    (16, 20),
    "2026-01-01T00:00:00.000+00:00",
    {"cores": 2, "governor": None},
)
ENTRIES = (
    Measurement("measured", 0.1 + 0.2, 0.1, 0.4, (0.30000000000000004, 0.1, -1e-7), noisy=True),
    Measurement("modelled", 1.5, 1.5, 1.5, cycles=450_000_000_001, details=(("alone_ms", 2.5), ("a", "b"))),
    Measurement("predicted", 1e-5, 0.0, 2e-5),
)
TABLE = Table(HEADER, dict(zip((BLOCKS[0], BLOCKS[5], BLOCKS[-1]), ENTRIES, strict=True)))
FULL = replace(
    TABLE,
    header=replace(HEADER, classes=10),
    failures={BLOCKS[7]: 'no "bank", no space'},
    exceptions={(16, BLOCKS[-1]): Measurement("measured", 2e-5, 1e-5, 3e-5, details=(("count", 7),))},
)
FORMATS = pytest.mark.parametrize(
    ("write", "read"), [(write_csv, read_csv), (write_parquet, read_parquet)], ids=["csv", "parquet"]
)


def test_a_row_says_what_its_number_is_of() -> None:
    first = rows(TABLE)[0]
    assert (first["family"], first["device"], first["precision"], first["origin"]) == (
        "glyphs",
        'A, "Quoted" Device',
        "int8",
        "measured",
    )
    assert json.loads(first["versions"]) == {"a": "1", "b": "2"}
    assert json.loads(first["details"]) == {"mode": "x=y;z"}
    assert json.loads(rows(TABLE)[1]["measurement_details"]) == {"alone_ms": 2.5, "a": "b"}
    assert (first["macs"], first["out_height"]) == (BLOCKS[0].macs, BLOCKS[0].out_shape[1])


@FORMATS
def test_nothing_is_lost(write, read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t"
    for table in (TABLE, FULL):
        write(table, path)
        assert read(path) == table


@FORMATS
def test_the_options_of_a_block_of_ones_own_kind_are_kept(write, read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    mine = replace(KINDS["conv"], fields=KINDS["conv"].fields | {"shuffle"})
    with mock.patch.dict(KINDS, {"mine": mine}):
        block = Block("mine", (8, 4, 4), 8, options={"shuffle": 2})  # type: ignore[arg-type]
        table = replace(TABLE, entries={**TABLE.entries, block: ENTRIES[0]})
        write(table, tmp_path / "t")
        assert read(tmp_path / "t") == table


@given(
    latency=st.floats(1e-9, 1e9),
    rounds=st.lists(st.floats(-1e3, 1e3), max_size=3),
    device=st.text(max_size=20),
)
def test_any_number_and_any_device_survive_csv(
    tmp_path_factory: pytest.TempPathFactory, latency: float, rounds: list[float], device: str
) -> None:
    try:
        device.encode()
    except UnicodeEncodeError:
        return
    header = Header(Target("none", device), "glyphs", "ofa", (16,), "")
    table = Table(header, {BLOCKS[1]: Measurement("measured", latency, latency / 3, latency, tuple(rounds))})
    path = tmp_path_factory.mktemp("any") / "t.csv"
    write_csv(table, path)
    assert read_csv(path) == table


def test_the_csv_is_the_golden_file(tmp_path: Path) -> None:
    write_csv(TABLE, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == (GOLDEN / "table.csv").read_bytes()


def test_the_csv_of_version_0_1_0_is_still_read() -> None:
    assert read_csv(GOLDEN / "table-0.1.0.csv") == TABLE


def test_the_golden_parquet_is_still_read() -> None:
    assert read_parquet(GOLDEN / "table.parquet") == TABLE


def test_data_frames_see_numbers(tmp_path: Path) -> None:
    from pyarrow import parquet

    write_parquet(TABLE, tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert (kinds["latency_ms"], kinds["kernel"], kinds["se"]) == ("double", "int64", "bool")
    assert (kinds["cycles"], kinds["rounds_ms"]) == ("int64", "list<element: double>")


# --- what is refused ---


def edited(tmp_path: Path, **changes: str) -> Path:
    """The golden CSV with the fields of its second row changed."""
    with (GOLDEN / "table.csv").open(newline="") as file:
        content = list(csv.DictReader(file))
    content[1].update(changes)
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(content[0]))
        writer.writeheader()
        writer.writerows(content)
    return path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"latency_ms": "nan"}, "row 2: .*finite number of milliseconds, not nan"),
        ({"latency_ms": "-1"}, "row 2: a latency must be positive"),
        ({"latency_ms": "fast"}, "could not convert"),
        ({"origin": "guessed"}, "row 2: unknown origin 'guessed'"),
        ({"se": "maybe"}, "'maybe' is neither True nor False"),
        ({"kernel": "4"}, "row 2: kernels are odd"),
        ({"kernel": "3.5"}, "'3.5' is no whole number"),
        ({"kernel": "9" * 30}, "no whole number"),
        ({"latency_ms": "0.7"}, "row 2: the latency, 0.7 ms, lies outside its own interval"),
        ({"rounds_ms": "0.5"}, "row 2: it was damaged or changed after it was written"),
        ({"measurement_details": '{"a": NaN}'}, "row 2: "),
        ({"origin": "failed"}, "row 2: "),
        ({"device": "Another"}, "row 2: it is of another table"),
        ({"versions": "{"}, "row 2: "),
        ({"host": "3"}, "row 2: broken header"),
        ({"measurement_details": "[]"}, "row 2: "),
    ],
)
def test_a_wrong_cell_is_refused(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    path = edited(tmp_path, **changes)
    with pytest.raises(ValueError, match=rf"t\.csv is not a table as CSV: .*{says}"):
        read_csv(path)


def test_foreign_and_truncated_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for content, says in (
        (b"", "holds no entries"),
        (b"a,b\n1,2\n", "row 1 lacks the column"),
        (b"a\xff\xfe", "codec can't decode"),
        (b"a,a\n1,2\n", "two of its columns have one name"),
        (b"\x80\x04\x95.", "a pickle .* could run code and is never read"),
        (b"PK\x03\x04 [Content_Types].xml", "a spreadsheet: save it as CSV"),
        ((GOLDEN / "table-0.1.0.csv").read_bytes()[:-2], "cut short"),
        ((GOLDEN / "table.csv").read_bytes()[:-3], "row 3: it was damaged"),
        ((GOLDEN / "table.csv").read_bytes()[:-30], "shorter or longer|row 3"),
        (
            (GOLDEN / "table.csv").read_bytes() + (GOLDEN / "table.csv").read_bytes().splitlines(True)[1],
            "twice",
        ),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"t\.csv is not a table as CSV: .*({says})"):
            read_csv(path)
    content = (GOLDEN / "table.parquet").read_bytes()
    for part in (b"", content[:100], content[: len(content) // 2], b"PAR1 no, PAR1"):
        path.write_bytes(part)
        with pytest.raises(ValueError, match=r"t\.csv is not a table as Parquet"):
            read_parquet(path)


def test_without_pyarrow_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RuntimeError, match=r"pip install 'hwbench\[parquet\]', or write CSV"):
        write_parquet(TABLE, tmp_path / "t.parquet")
