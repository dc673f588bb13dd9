"""Subnets go through CSV unchanged; whatever is wrong with a file is said with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compofa.families import GLYPHS, get_family
from compofa.spaces import Genotypes, encode, get_space
from lut.subnets_csv import read_subnets, subnet_columns, write_csv

GOLDEN = """\
r,d0,d1,d2,d3,d4,{k}00,{k}01,{k}02,{k}03,{k}04,{k}05,{k}06,{k}07,{k}08,{k}09,{k}10,{k}11,{k}12,{k}13,{k}14,{k}15,{k}16,\
{k}17,{k}18,{k}19,e00,e01,e02,e03,e04,e05,e06,e07,e08,e09,e10,e11,e12,e13,e14,e15,e16,e17,e18,e19,cpu_ms
24,2,2,3,2,4,3,5,0,0,3,3,0,0,7,7,7,0,3,3,0,0,5,5,5,5,3,6,0,0,4,4,0,0,3,3,3,0,6,6,0,0,3,4,6,3,0.5
"""


def subnets(count: int, family: str = "glyphs", seed: int = 0) -> Genotypes:
    rng, space = np.random.default_rng(seed), get_space("ofa", get_family(family))
    return encode(space.family, [space.sample(rng) for _ in range(count)])


def write(path: Path, genotypes: Genotypes, **columns: list[float]) -> Path:
    header, cells = subnet_columns(GLYPHS, genotypes)
    write_csv(path, header, cells, {name: np.array(values) for name, values in columns.items()})
    return path


def test_the_layout(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text(GOLDEN.format(k="k"))
    file = read_subnets(path, GLYPHS)
    assert file.genotypes.tolist() == [[2, 1, 8, 0, 0, 4, 4, 0, 0, 3, 3, 3, 0, 7, 7, 0, 0, 2, 5, 8, 2]]
    assert file.latencies("cpu_ms").tolist() == [0.5]
    header, cells = subnet_columns(GLYPHS, file.genotypes)
    write_csv(tmp_path / "again.csv", header, cells, {"cpu_ms": np.array([0.5])})
    assert (tmp_path / "again.csv").read_text() == path.read_text()
    path.write_text(GOLDEN.format(k="ks"))
    assert read_subnets(path, GLYPHS).genotypes.tolist() == file.genotypes.tolist()


@given(seed=st.integers(0, 2**32), junk=st.sampled_from(["", "7", "99", "nan", "x", "3.0"]))
@settings(max_examples=20, deadline=None)
def test_inactive_slots_may_hold_anything(
    seed: int, junk: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    genotypes = subnets(4, seed=seed)
    header, cells = subnet_columns(GLYPHS, genotypes)
    path = tmp_path_factory.mktemp("csv") / "s.csv"
    write_csv(path, header, [[junk if cell == "0" else cell for cell in row] for row in cells], {})
    np.testing.assert_array_equal(read_subnets(path, GLYPHS).genotypes, genotypes)


def test_numbers_as_pandas_writes_them_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    text = GOLDEN.format(k="k").replace("\n24,2,", "\n\n24.0,2.0,").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    file = read_subnets(path, GLYPHS)
    assert len(file.genotypes) == 1 and file.lines == [3]


def edited(path: Path, old: str, new: str) -> Path:
    text = GOLDEN.format(k="k")
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n24,", "\n25,", r"line 2: r is '25'; glyphs has 16, 20, 24, 28, 32 \(1 of 1 rows"),
        ("24,2,2,3", "24,2,5,3", "line 2: d1 is '5'; glyphs has 2, 3, 4"),
        ("4,3,5,0,0", "4,3,4,0,0", "line 2: k01 is '4'; glyphs has 3, 5, 7"),
        ("3,6,0,0,4", "3,,0,0,4", "line 2: e01 is ''; glyphs has 3, 4, 6"),
        ("4,3,5,0,0", "4,3,5.5,0,0", "line 2: k01 is '5.5'"),
        ("\n24,", "\nnan,", "line 2: r is 'nan'"),
        ("k05,k06", "x05,k06", "lacks k05: subnets of glyphs need"),
        (",e19,", ",x19,", "lacks e19"),
        (",cpu_ms\n", ",r\n", "has the column r twice"),
        (",0.5\n", "\n", r"line 2: 46 cells, but the header has 47 \(is the file cut short"),
        ("\n24,2,2,3,2,4,3,5,0,0,3,3,0,0,7,7,7,0,3,3,0,0,5,5,5,5,3,6,0,0,4,4,0,0,3,3,3,0,6,6,0,0,3,4,6,3,0.5", "",
         "holds no subnets, only a header"),
    ],
)  # fmt: skip
def test_what_is_no_subnet_is_said_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = edited(tmp_path / "s.csv", old, new)
    with pytest.raises(ValueError, match=message):
        read_subnets(path, GLYPHS)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", b"\x00\n\x00"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"s\.csv (is empty|is no CSV|lacks r, d0)"):
        read_subnets(tmp_path / "s.csv", GLYPHS)


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "0", "fast"])
def test_latencies_are_positive_numbers(tmp_path: Path, text: str) -> None:
    path = edited(tmp_path / "s.csv", ",0.5\n", f",{text}\n")
    with pytest.raises(
        ValueError, match=rf"line 2: cpu_ms is '{text}', not a positive number of milliseconds"
    ):
        read_subnets(path, GLYPHS).latencies("cpu_ms")


def test_a_column_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    file = read_subnets(write(tmp_path / "s.csv", subnets(2), a=[1, 2], b=[1, 2]), GLYPHS)
    for name in ("c", "r", "k00"):
        with pytest.raises(ValueError, match=f"no column '{name}' of latencies; it has a, b"):
            file.latencies(name)


def test_a_file_of_another_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 2: r is '.*'; imagenet-w1\.2 has 128, 132"):
        read_subnets(write(tmp_path / "s.csv", subnets(2)), get_family("imagenet-w1.2"))


def test_the_target_stands_in_a_column_and_is_one(tmp_path: Path) -> None:
    assert read_subnets(write(tmp_path / "s.csv", subnets(2), a=[1, 2]), GLYPHS).target is None
    header, cells = subnet_columns(GLYPHS, subnets(2))
    for targets, found in ((["phone", "phone"], "phone"), (["phone", "server"], None)):
        rows = [[*row, target] for row, target in zip(cells, targets, strict=True)]
        write_csv(tmp_path / "s.csv", [*header, "target"], rows, {})
        file = read_subnets(tmp_path / "s.csv", GLYPHS)
        if found:
            assert file.target == found
        else:
            with pytest.raises(ValueError, match="mixes measurements of 2 targets: phone, server"):
                _ = file.target


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", subnets(2), a=[1, 2])
    before = path.read_text()
    with pytest.raises(ValueError, match="column a has 1 numbers for 2 rows"):
        write(path, subnets(2), a=[1.0])
    assert path.read_text() == before
