"""OFA's published YAML becomes a table of the right family, or is refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.base import Measurement, Target
from compofa.blocks import Block
from compofa.files import parse_yaml
from compofa.network import arch_blocks
from compofa.spaces.arch import extreme
from compofa.spaces.layout import encode
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from lut.calibration import load_model
from lut.formats import read_table, write_table
from lut.formats.ofa import read_ofa
from lut.formats.ofa_keys import ofa_key
from lut.formats.ofa_writing import write_ofa
from lut.header import Header
from lut.plausible import oddities
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
    np.testing.assert_allclose(load_model(tmp_path).predict(encode(SPACE.family, archs)), expected)


def test_what_each_file_says_of_a_block_holds_at_its_resolution(tmp_path: Path) -> None:
    """160 and 192 px share the classifier, and each file times it anew: a network's sum is that of its own file."""
    write(tmp_path, 160, scale=1.0)
    write(tmp_path, 192, scale=3.0)
    table, model = read_ofa(tmp_path), load_model(tmp_path)
    rng = np.random.default_rng(0)
    for resolution, scale in ((160, 1.0), (192, 3.0)):
        last = SPACE.all_blocks((resolution,))[-1]
        entry = table.entry(last, resolution)
        assert entry and entry.latency_ms == scale * (0.01 + last.macs / 1e8)
        archs = [SPACE.sample(rng, resolution) for _ in range(5)]
        expected = [sum(scale * (0.01 + b.macs / 1e8) for b in SPACE.blocks(arch)) for arch in archs]
        for answer in (table.predict, model.predict):
            np.testing.assert_allclose(answer(encode(SPACE.family, archs)), expected)
        np.testing.assert_allclose([table.latency_ms(SPACE.blocks(arch)) for arch in archs], expected)
        np.testing.assert_allclose([model.latency_ms(SPACE.blocks(arch)) for arch in archs], expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "Conv-input:160x160x3-output:80x80x23: {count: 1, mean: 1, std: 0}",
            "80x80x23 is no block of .*: is the table of another width",
        ),
        ("a: [", "not YAML"),
        ("", "holds no entries"),
        ("- 1", "holds no entries"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, std: 0}", "needs numbers count, mean and std"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, mean: -1, std: 0}", "has no positive mean"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, mean: .nan, std: 0}", "has no positive mean"),
        ("a: !!python/object/apply:os.getcwd []", "with aliases or tags is not read"),
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
    (tmp_path / "t.yaml").write_text(content + "\n" * bool(content))
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
    about, *lines = path.read_text().splitlines()
    golden = (GOLDEN / "128_lookup_table.yaml.head").read_text().splitlines()
    assert [re.sub("; crc32 [0-9a-f]{8}$", "", about), *lines[:16]] == golden


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


def contents(folder: Path) -> dict[str, object]:
    """What the files say, without our comments."""
    return {path.name: parse_yaml(path.read_bytes()) for path in sorted(folder.glob("*.yaml"))}


@pytest.mark.parametrize("way", ["t.jsonl", "t.csv", "t.parquet"])
def test_the_published_tables_convert_back_to_themselves(
    published: Callable[[str], Path], tmp_path: Path, way: str
) -> None:
    """Count, mean and deviation of all 5 x 96 entries to the last digit, through any format of ours."""
    write_table(read_ofa(published("note10_lut")), tmp_path / way)
    table = read_table(tmp_path / way)
    write_ofa(table, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(published("note10_lut"))
    assert oddities(table) == []


def test_any_folder_converts_back_to_itself(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for resolution, scale in ((160, 1.0), (176, 1.01), (192, 1.1)):
        write(tmp_path / "a", resolution, scale)
    write_table(read_ofa(tmp_path / "a"), tmp_path / "t.jsonl")
    write_ofa(read_table(tmp_path / "t.jsonl"), tmp_path / "b")
    assert contents(tmp_path / "b") == contents(tmp_path / "a")


# --- other writers of the layout ---


def test_the_layout_as_json_and_with_the_variance(tmp_path: Path) -> None:
    (tmp_path / "yaml").mkdir()
    (tmp_path / "json").mkdir()
    path = write(tmp_path / "yaml", 160)
    as_json = {
        key: {"count": e["count"], "mean": e["mean"], "var": e["std"] ** 2}
        for key, e in parse_yaml(path.read_bytes()).items()
    }
    (tmp_path / "json" / "160_lookup_table.json").write_text(json.dumps(as_json))
    one, other = read_ofa(tmp_path / "yaml"), read_ofa(tmp_path / "json")
    assert one.complete_resolutions(SPACE) == other.complete_resolutions(SPACE) == (160,)
    assert read_table(tmp_path / "json" / "160_lookup_table.json").entries == other.entries
    for block, m in one.entries.items():
        assert other.entries[block].latency_ms == m.latency_ms
        assert other.entries[block].high_ms == pytest.approx(m.high_ms)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: &x [1]\nb: *x\n", "with aliases"),
        ("[" * 10_000, "nested too deep"),
        (f"{'a: {' * 100}", "nested too deep"),
        ("KEY: {count: 1, mean: 1, std: 0}\nKEY: {count: 1, mean: 2, std: 0}\n", "is there twice"),
        ("KEY: {count: 1, mean: 1, mean: 2, std: 0}\n", "mean is there twice"),
        ("KEY:\n  count: 1\n  mean: 1.5\n  std: 0.0", "cut short"),
        ("KEY: {count: 1, mean: 1, std: 0, var: 0}\n", "std and var"),
        ("KEY: {count: %s, mean: 1, std: 0}\n" % ("9" * 400), "no positive mean"),
        ("KEY: {count: 1, mean: %s, std: 0}\n" % ("9" * 400), "no positive mean"),
        ("\x80\x04\x95", "not YAML"),
    ],
)
def test_hostile_and_damaged_files_are_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "160_lookup_table.yaml"
    path.write_text(content.replace("KEY", "Conv-input:160x160x3-output:80x80x24"))
    with pytest.raises(ValueError, match=says):
        read_ofa(path)


def test_tables_of_other_backbones_are_named_for_what_they_are(
    tmp_path: Path, published: Callable[[str], Path]
) -> None:
    entry = ":\n  count: 1000\n  mean: 1.0\n  std: 0\n"
    stem, block = (
        "Conv-input:160x160x3-output:80x80x56",
        "expanded_conv-input:10x10x80-output:10x10x80-expand:4-kernel:3-stride:1-idskip:1",
    )
    path = tmp_path / "160_lookup_table.yaml"
    says = r"a table of ProxylessNAS or MobileNetV2, .*there are glyphs, .*Write its family down"
    for keys in ((stem, block), (block,)):
        path.write_text("".join(key + entry for key in keys))
        with pytest.raises(ValueError, match=says):
            read_ofa(tmp_path)
    path.write_text(stem + entry)
    with pytest.raises(ValueError, match="another width, or of another kind of network"):
        read_ofa(tmp_path)


def test_proxylessnas_table_reads_and_converts_back_to_itself(
    tmp_path: Path, published: Callable[[str], Path]
) -> None:
    path = published("proxylessnas_mobile.yaml")
    table = read_ofa(path)
    assert (table.header.family, len(table.entries)) == ("proxyless-mobile", 72)
    (written,) = write_ofa(table, tmp_path / "again")
    assert parse_yaml(written.read_text()) == parse_yaml(path.read_text())
    largest = arch_blocks(table.family, extreme(table.family, largest=True))
    entries = parse_yaml(path.read_text())
    sums = sum(entries[ofa_key(block, proxyless=True)]["mean"] for block in largest)
    assert table.latency_ms(largest) == pytest.approx(sums)


def test_a_file_of_ours_that_was_cut_at_a_line_or_changed_is_refused(tmp_path: Path) -> None:
    (path,) = write_ofa(made(160), tmp_path / "out")
    lines = path.read_text().splitlines(keepends=True)
    assert "mean" in lines[11]
    for changed in (lines[:-4], [*lines[:11], lines[11].replace("mean: ", "mean: 1"), *lines[12:]]):
        path.write_text("".join(changed))
        with pytest.raises(ValueError, match="its checksum does not fit"):
            read_ofa(path)


def test_two_files_of_a_resolution_or_of_two_targets_are_no_table(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_ofa(made(160, 176), folder)
    other = made(176)
    other = replace(other, header=replace(other.header, target=Target("none", "elsewhere")))
    (path,) = write_ofa(other, tmp_path / "other")
    path.rename(folder / path.name)
    with pytest.raises(ValueError, match="of different targets"):
        read_ofa(folder)
    (folder / "176_again.yaml").write_bytes((folder / "176_lookup_table.yaml").read_bytes())
    with pytest.raises(ValueError, match="are of one resolution"):
        read_ofa(folder)


def test_a_folder_is_replaced_as_a_whole_and_only_if_it_is_one_of_tables(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_ofa(made(160, 176, 192), folder)
    write_ofa(made(160), folder)
    assert [path.name for path in folder.iterdir()] == ["160_lookup_table.yaml"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds notes\.txt, too: give another folder"):
        write_ofa(made(176), folder)
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "160_lookup_table.yaml").exists()


def test_a_failed_write_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    before = [path.read_bytes() for path in write_ofa(made(160), folder)]
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="No space"):
        write_ofa(made(160, 176), folder)
    assert [path.read_bytes() for path in folder.iterdir()] == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_another_number_of_classes_is_told_by_the_logits(tmp_path: Path) -> None:
    ten = replace(SPACE.family, classes=10)
    blocks = get_space("ofa", ten).all_blocks((160,))
    (tmp_path / "160_lookup_table.yaml").write_text("".join(map(entry, blocks)))
    table = read_ofa(tmp_path)
    assert (table.header.classes, table.family) == (10, ten)
    assert table.complete_resolutions(get_space("ofa", ten)) == (160,)
