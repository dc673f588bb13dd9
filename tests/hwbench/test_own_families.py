"""Families of one's own: a file, and a plug-in with blocks of its own kinds, as docs/families.md has them."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import build_lut, describe, pareto, search, validate

from compofa.blocks import KINDS
from compofa.errors import InputError
from compofa.graph import network_to_onnx
from compofa.network import arch_blocks
from compofa.spaces import registry
from compofa.spaces.making import MAKERS
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from compofa.supernet import Supernet
from hwbench import tables
from lut.formats import read_table
from lut.table import Table

DOCS = Path(__file__).parents[2] / "docs" / "families.md"
FILE, BLOCKS, HYBRID, _ = re.findall(r"```(?:toml|python)\n(.*?)```", DOCS.read_text(), re.DOTALL)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with the blocks of the docs."""
    place = tmp_path / "site"
    info = place / "my_blocks-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "my_blocks.py").write_text(BLOCKS)
    (place / "tiny-hybrid.toml").write_text(HYBRID)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-blocks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hwbench.families]\ntiny-hybrid = my_blocks:FAMILY\n")
    monkeypatch.syspath_prepend(place)
    kinds, makers = set(KINDS), set(MAKERS)
    yield place
    sys.modules.pop("my_blocks", None)
    registry._own.pop("tiny-hybrid", None)
    for known, before in ((KINDS, kinds), (MAKERS, makers)):
        for name in set(known) - before:
            del known[name]


def test_each_kind_of_the_how_to_is_short() -> None:
    functions = re.findall(r"^def .*?(?=^def |^register)", BLOCKS, re.DOTALL | re.MULTILINE)
    assert len(functions) == 4
    assert all(len(text.splitlines()) < 20 for text in functions)


def test_blocks_of_ones_own_are_measured_validated_and_drawn(plugin: Path, tmp_path: Path, capsys) -> None:
    lut = tmp_path / "hybrid.jsonl"
    assert build_lut.main(["--backend", "onnxruntime", "--family", "tiny-hybrid", "--out", str(lut)]) == 0
    table = Table.load(lut)
    space = get_space("ofa", table.family)
    assert {block.kind for block in table.entries} == {"conv", "convnext", "attention", "pool", "linear"}
    assert set(table.entries) == set(space.all_blocks())
    assert validate.main(["--lut", str(lut), "--subnets", "10"]) == 0
    accuracies = tmp_path / "accuracy.csv"
    with open(accuracies, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["arch", "accuracy"])
        rng = np.random.default_rng(0)
        rows.writerows([str(arch), f"{rng.uniform(0.5, 0.9):.3f}"] for arch in space.enumerate())
    drawn = ["--family", "tiny-hybrid", "--space", "ofa", "--lut", str(lut), "--accuracy", str(accuracies)]
    assert pareto.main([*drawn, "--out", str(tmp_path / "p.png"), "--force"]) == 0
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_blocks_of_ones_own_compute_what_torch_computes(plugin: Path) -> None:
    import onnxruntime

    from compofa.export import export_onnx

    family = get_family("tiny-hybrid")
    arch = get_space("ofa", family).sample(np.random.default_rng(1))
    blocks = arch_blocks(family, arch)
    torch.manual_seed(0)
    supernet = Supernet(family).eval()
    network = supernet.extract(arch).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = network(x)
        torch.testing.assert_close(supernet(x, arch), expected, rtol=1e-4, atol=1e-5)
    model = export_onnx(network, blocks, batch=2)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], expected.numpy(), rtol=1e-3, atol=1e-4)
    assert network_to_onnx(blocks, precision="fp16").graph.node


def test_a_plug_in_that_fails_is_named_and_the_others_work(plugin: Path) -> None:
    (plugin / "my_blocks.py").write_text("raise RuntimeError('no such block')")
    with pytest.raises(
        InputError, match=r"plug-in of family 'tiny-hybrid' \(my_blocks:FAMILY\).*no such block"
    ):
        get_family("tiny-hybrid")
    assert get_family("glyphs").name == "glyphs"


def test_two_plug_ins_of_one_name_are_refused(plugin: Path) -> None:
    other = plugin / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[hwbench.families]\ntiny-hybrid = other:FAMILY\n")
    with pytest.raises(InputError, match=r"two plug-ins have a family 'tiny-hybrid' \(my-blocks, other\)"):
        get_family("tiny-hybrid")


# --- a file ---


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    yield path
    registry._own.pop("mine", None)
    registry._documents.pop("mine", None)


def test_a_family_in_a_file_is_measured_and_its_table_read_without_it(
    mine: Path, tmp_path: Path, capsys
) -> None:
    lut = tmp_path / "mine.jsonl"
    build = ["--backend", "fpga", "--family", str(mine), "--out", str(lut)]
    assert build_lut.main(build) == 0
    rows = tmp_path / "mine.csv"
    assert tables.main(["convert", str(lut), "--out", str(rows)]) == 0
    mine.unlink()
    for name in (rows, lut):
        registry._own.clear()
        registry._documents.clear()
        table = read_table(name)
    assert table.family.name == "mine" and table.family.classes == 10
    assert table.complete_resolutions(get_space("ofa", table.family)) == (32, 48)
    capsys.readouterr()
    arch = "r32-k3e2_k5e4-w0.75_e0.25"
    assert describe.main([arch, "--family", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["macs"] > 0


def test_two_files_of_one_name_are_refused(mine: Path, tmp_path: Path) -> None:
    get_family(str(mine))
    other = tmp_path / "other" / "mine.toml"
    other.parent.mkdir()
    other.write_text(FILE.replace("classes = 10", "classes = 11"))
    with pytest.raises(InputError, match="two families are called 'mine' and differ"):
        get_family(str(other))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("classes = 10", "classes = 10\nclass = 3"), "the family has no key class; it has name, based_on"),
        (("classes = 10", ""), "the family lacks classes"),
        (("act = \"relu6\"", "act = \"swish\""), "unit 2: act is 'swish', not one of none, relu"),
        (("width = 24", "width = 0"), "unit 2: width is 0, not a whole number above 0"),
        (("width = 24", "width = -8"), "unit 2: width is -8"),
        (("width = 24", "width = 24\ncolour = 1"), "unit 2: a unit of kind mbconv has no key colour"),
        (("width = 24\n", ""), "unit 2: a unit of kind mbconv needs a width"),
        (("expand = [2, 4]\n", ""), "unit 2: a unit of kind mbconv lacks expand"),
        (("depth = [1, 2]\nkernel", "depth = [2, 1]\nkernel"), "unit 2: depth must be different and ascend"),
        (("depth = [1, 2]\nkernel", "depth = [0, 1]\nkernel"), "unit 2: depth is 0"),
        (("kernel = [3, 5]", "kernel = [3, 4]"), "unit 2, at 32 px: kernels are odd"),
        (("kind = \"bottleneck\"", "kind = \"neck\""), "unit 3: there is no kind of unit 'neck'; there are conv"),
        (("act = \"relu6\"", "act = \"relu6\"\nfirst_shortcut = true"), "a shortcut needs stride 1 and equal widths"),
        (("[32, 48]", "[4, 48]"), "total stride of 8: images have a side from there to 8192 pixels, not 4"),
        (("[32, 48]", "[48, 32]"), "resolutions must be different and ascend"),
        (("[32, 48]", "[]"), "resolutions must be different and ascend"),
        (("[[unit]]\nkind = \"linear\"", ""), "it does not end in a classifier"),
        (("fixed = { kernel = 3 }", "fixed = { hidden = 3 }"), "unit 2: fixed is .*, not values of expand, kernel"),
        (("classes = 10", "classes = 10\nbased_on = \"nothing\""), "unknown family 'nothing'"),
        (("classes = 10", "classes = [10"), "not TOML"),
    ],
)  # fmt: skip
def test_a_family_that_cannot_be_is_refused_by_name(
    mine: Path, edit: tuple[str, str], words: str, capsys
) -> None:
    assert edit[0] in FILE
    mine.write_text(FILE.replace(*edit, 1))
    with pytest.raises(InputError, match=words):
        get_family(str(mine))
    assert search.main(["--family", str(mine)]) == 2
    assert capsys.readouterr().err.count("\n") <= 2


def test_a_family_without_units_or_choices_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    for text, words in (
        ("classes = 1\nresolutions = [32]\nunit = []", "it has no units"),
        ('classes = 1\nresolutions = [32]\n[[unit]]\nkind = "pool"\n[[unit]]\nkind = "linear"', "to choose"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            get_family(str(path))
