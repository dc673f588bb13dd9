"""OFA's published YAML becomes a table of the right family, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.base import Measurement, Target
from compofa.blocks import Block
from compofa.families import get_family
from compofa.genotype import encode
from compofa.spaces import get_space
from lut.calibration import load_model
from lut.ofa_yaml import ofa_key, read_ofa, write_ofa
from lut.store import Header
from lut.table import MissingEntry, Table

SPACE = get_space("ofa", get_family("imagenet-w1.2"))
GOLDEN = Path(__file__).parent / "golden"


def entry(block: Block, scale: float = 1.0) -> str:
    mean = scale * (0.01 + block.macs / 1e8)
    return f"{ofa_key(block)}:\n  count: 100\n  mean: {mean!r}\n  std: 0.001\n"


def write(folder: Path, resolution: int, scale: float = 1.0) -> Path:
    path = folder / f"{resolution}_lookup_table.yaml"
    path.write_text("".join(entry(block, scale) for block in SPACE.all_blocks((resolution,))))
    return path


def test_keys_are_those_published() -> None:
    keys = [ofa_key(block) for block in SPACE.all_blocks((224,))]
    assert len(set(keys)) == len(keys) == 96
    assert keys[:2] == [
        "Conv-input:224x224x3-output:112x112x24",
        "expanded_conv-input:112x112x24-output:112x112x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0",
    ]
    assert keys[-4:] == [
        "Conv_1-input:7x7x192-output:7x7x1152",
        "AvgPool2D-input:7x7x1152-output:1x1x1152",
        "Conv_2-input:1x1x1152-output:1x1x1536",
        "Logits-input:1x1x1536-output:1000",
    ]


def test_a_folder_is_one_table(tmp_path: Path) -> None:
    for resolution in (160, 192):
        write(tmp_path, resolution)
    table = read_ofa(tmp_path)
    assert table.complete_resolutions(SPACE) == table.header.resolutions == (160, 192)
    rng = np.random.default_rng(0)
    archs = [SPACE.sample(rng, 192) for _ in range(5)]
    expected = [sum(0.01 + block.macs / 1e8 for block in SPACE.blocks(arch)) for arch in archs]
    np.testing.assert_allclose(load_model(tmp_path).predict_ms(encode(SPACE.family, archs)), expected)


def test_a_block_in_several_files_is_averaged_over_its_runs(tmp_path: Path) -> None:
    write(tmp_path, 160, scale=1.0)
    write(tmp_path, 192, scale=3.0)
    last = SPACE.all_blocks((160,))[-1]
    assert read_ofa(tmp_path).entries[last].latency_ms == pytest.approx(2 * (0.01 + last.macs / 1e8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "Conv-input:160x160x3-output:80x80x23: {count: 1, mean: 1, std: 0}",
            "80x80x23 is no block of .*: is the table of another width",
        ),
        ("a: [", "is not YAML"),
        ("", "holds no entries"),
        ("- 1", "holds no entries"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, std: 0}", "needs numbers count, mean and std"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, mean: -1, std: 0}", "has no positive mean"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, mean: .nan, std: 0}", "has no positive mean"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML"),
        (
            "Conv-input:160x160x3-output:80x80x24: {count: 1, mean: 1, std: 0, p99: 2}",
            "has p99, which no OFA",
        ),
        (
            "Conv-input:160x160x3-output:80x80x24: {count: 1, mean: '1', std: 0}",
            "needs numbers .* not 1, '1', 0",
        ),
        ("Conv-input:160x160x3-output:80x80x24: {count: true, mean: 1, std: 0}", "needs numbers"),
        ("Conv-input:160x160x3-output:80x80x24: 0.5", "needs numbers count, mean and std"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, mean: 1, std: 0, origin: told}", "unknown origin"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_ofa(tmp_path / "t.yaml")


def test_an_empty_folder_and_another_family_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no OFA table"):
        read_ofa(tmp_path)
    path = write(tmp_path, 160)
    with pytest.raises(
        ValueError, match=r"no block of imagenet-w1\.0: the table is of imagenet-w1\.2, another width"
    ):
        read_ofa(path, "imagenet-w1.0")


def test_the_family_is_told_by_the_blocks(tmp_path: Path) -> None:
    family = get_family("imagenet-w1.0")
    blocks = get_space("ofa", family).all_blocks((160,))
    (tmp_path / "t.yaml").write_text("".join(map(entry, blocks)))
    assert read_ofa(tmp_path).family == family


def test_a_file_whose_name_says_another_resolution_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 160).rename(tmp_path / "176_lookup_table.yaml")
    with pytest.raises(ValueError, match="is no block at 176 px, as the file's name says"):
        read_ofa(tmp_path)


# --- writing ---


def made(*resolutions: int, origin: str = "measured") -> Table:
    """A table whose latencies and intervals are a known function of the block."""
    header = Header(Target("none", "nowhere"), SPACE.family.name, "ofa", resolutions, "2026")
    entries = {}
    for block in SPACE.all_blocks(resolutions):
        ms = 1e-5 + block.macs / 1e7
        entries[block] = Measurement(origin, ms, 0.99 * ms, 1.01 * ms, (ms, 0.98 * ms, 1.02 * ms))
    return Table(header, entries)


def test_a_file_for_each_resolution_reads_back_equal(tmp_path: Path) -> None:
    table = made(160, 176)
    files = write_ofa(table, tmp_path / "out")
    assert [path.name for path in files] == ["160_lookup_table.yaml", "176_lookup_table.yaml"]
    for path in files:
        assert path.read_text().count("count:") == 96
    back = read_ofa(tmp_path / "out")
    assert back.header.resolutions == (160, 176)
    assert back.entries.keys() == table.entries.keys()
    for block, m in back.entries.items():
        was = table.entries[block]
        assert m.latency_ms == was.latency_ms
        assert (m.low_ms, m.high_ms) == pytest.approx((was.low_ms, was.high_ms))


def test_what_was_not_measured_stays_told(tmp_path: Path) -> None:
    write_ofa(made(160, origin="predicted"), tmp_path)
    assert {m.origin for m in read_ofa(tmp_path).entries.values()} == {"predicted"}


def test_the_layout_is_that_of_the_golden_file(tmp_path: Path) -> None:
    """What others read must not change: keys, fields, numbers; the target as a comment."""
    (path,) = write_ofa(made(128), tmp_path)
    assert (
        path.read_text().splitlines()[:17] == (GOLDEN / "128_lookup_table.yaml.head").read_text().splitlines()
    )


def test_only_whole_resolutions_are_written(tmp_path: Path) -> None:
    table = made(160, 176)
    partial = dict(table.entries)
    del partial[SPACE.all_blocks((176,))[20]]
    assert [p.name for p in write_ofa(replace(table, entries=partial), tmp_path)] == ["160_lookup_table.yaml"]
    with pytest.raises(MissingEntry, match="complete at no resolution"):
        write_ofa(replace(table, entries={}), tmp_path)


def test_the_published_note10_tables_are_complete(published: Callable[[str], Path]) -> None:
    table = read_ofa(published("note10_lut"))
    assert table.complete_resolutions(SPACE) == (160, 176, 192, 208, 224)


def test_the_published_tables_survive_being_written(published: Callable[[str], Path], tmp_path: Path) -> None:
    table = read_ofa(published("note10_lut"))
    write_ofa(table, tmp_path)
    back = read_ofa(tmp_path)
    assert {b: m.latency_ms for b, m in back.entries.items()} == {
        b: m.latency_ms for b, m in table.entries.items()
    }
