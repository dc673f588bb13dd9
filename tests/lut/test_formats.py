"""OFA's published YAML becomes a table of the right family, or is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from compofa.blocks import Block
from compofa.families import get_family
from compofa.genotype import encode
from compofa.spaces import get_space
from lut.calibration import load_model
from lut.formats import OFA_FAMILY, ofa_key, read_ofa

SPACE = get_space("ofa", get_family(OFA_FAMILY))
SHARED = Path(os.environ.get("HWBENCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


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
            "Conv-input:160x160x3-output:80x80x16: {count: 1, mean: 1, std: 0}",
            "80x80x16 is no block of imagenet-w1.2",
        ),
        ("a: [", "is not YAML"),
        ("", "holds no entries"),
        ("- 1", "holds no entries"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, std: 0}", "needs numbers count, mean and std"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, mean: -1, std: 0}", "has no positive mean"),
        ("Conv-input:160x160x3-output:80x80x24: {count: 1, mean: .nan, std: 0}", "has no positive mean"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML"),
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
    with pytest.raises(ValueError, match=r"no block of imagenet-w1\.0: is the table of another width"):
        read_ofa(path, "imagenet-w1.0")


@pytest.mark.skipif(not (SHARED / "note10_lut").is_dir(), reason=f"no published tables in {SHARED}")
def test_the_published_note10_tables_are_complete() -> None:
    table = read_ofa(SHARED / "note10_lut")
    assert table.complete_resolutions(SPACE) == (160, 176, 192, 208, 224)
