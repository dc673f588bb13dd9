"""Subnets go through CSV unchanged; whatever is wrong with a file is said with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ofa_configs import config_of

from compofa.errors import InputError
from compofa.network import arch_blocks
from compofa.published_networks import published_network
from compofa.spaces.arch import Arch
from compofa.spaces.layout import Genotypes, decode, encode
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import get_space
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
    with pytest.raises(ValueError, match=r"s\.csv (is empty|is no CSV|is not text in UTF-8|lacks r, d0)"):
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


# --- the other forms ---


def lists(row: list[str]) -> dict[str, Any]:
    numbers = [int(cell) for cell in row]
    return {"wid": None, "ks": numbers[6:26], "e": numbers[26:], "d": numbers[1:6], "r": numbers[0]}


def forms(genotypes: Genotypes, family: str = "glyphs") -> dict[str, str]:
    """The same subnets in each form; those of rows have a column ``cpu ms``."""
    whole = get_family(family)
    header, cells = subnet_columns(whole, genotypes)
    archs, dicts = decode(whole, genotypes), [lists(row) for row in cells]
    many = [{**config, "r": [config["r"]], "cpu ms": 1.5} for config in dicts]
    return {
        "columns.csv": "\n".join(
            [",".join([*header, "cpu ms"]), *(",".join([*row, "1.5"]) for row in cells)]
        ),
        "arch.csv": "n,arch,cpu ms\n" + "".join(f"{n},{arch},1.5\n" for n, arch in enumerate(archs)),
        "both.csv": "\n".join(
            [
                ",".join([*header, "arch", "cpu ms"]),
                *(",".join([*row, str(a), "1.5"]) for row, a in zip(cells, archs, strict=True)),
            ]
        ),
        "dicts.csv": "Sub-network,Date,cpu ms\n" + "".join(f'"{config}",now,1.5\n' for config in many),
        "json in cells.csv": "a,cpu ms\n"
        + "".join('"' + json.dumps(config).replace('"', '""') + '",1.5\n' for config in dicts),
        "list.json": json.dumps(many),
        "lines.jsonl": "\n".join(map(json.dumps, many)) + "\n",
        "archs.json": json.dumps([{"arch": str(arch), "cpu ms": 1.5} for arch in archs]),
        "archs.txt": "".join(f"{arch}\n" for arch in archs),
    }


@pytest.mark.parametrize("family", ["glyphs", "imagenet-w1.2"])
@pytest.mark.parametrize("name", sorted(forms(subnets(1))))
def test_every_form_says_the_same(name: str, family: str, tmp_path: Path) -> None:
    genotypes = subnets(5, family, seed=3)
    path = tmp_path / name
    path.write_text(forms(genotypes, family)[name])
    file = read_subnets(path, get_family(family))
    np.testing.assert_array_equal(file.genotypes, genotypes)
    assert file.archs() == decode(file.family, genotypes)
    if name != "archs.txt":
        assert file.latencies("cpu ms").tolist() == [1.5] * 5
    with pytest.raises(ValueError, match="no column"):
        file.latencies("arch")


def test_one_subnet_of_ofa_is_a_file(tmp_path: Path) -> None:
    """Also pretty-printed, and with slots past the depth left as they were."""
    lone = {"wid": None, "ks": [3] * 20, "e": [4] * 20, "d": [2] * 5, "r": 176}
    path = tmp_path / "arch.json"
    for text in (json.dumps(lone), json.dumps(lone, indent=1)):
        path.write_text(text)
        (arch,) = read_subnets(path, get_family("imagenet-w1.0")).archs()
        assert str(arch) == "r176-" + "-".join(["k3e4_k3e4"] * 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ks": [3] * 19}, "ks is a list of 20 numbers for this family, not 19 numbers"),
        ({"ks": [3] * 10}, "ks is a list of 20"),
        ({"e": [4] * 21}, "e is a list of 20 numbers for this family, not 21"),
        ({"d": [2] * 4}, "d is a list of 5"),
        ({"d": 2}, "d is a list of 5 numbers for this family, not 2"),
        ({"d": [2, 2, 2, 2, 5]}, r"d\[4\] is 5; glyphs has depths 2, 3, 4"),
        ({"d": [2, 2, 2, 2, 1]}, r"d\[4\] is 1"),
        ({"d": [2, 2, 2, 2, -1]}, r"d\[4\] is -1"),
        ({"ks": [3.5] * 20}, "k3.5e4 is not of kernels"),
        ({"ks": [True] * 20}, "no number"),
        ({"ks": ["3"] * 20}, "no number"),
        ({"ks": [[3]] * 20}, "no number"),
        ({"ks": [4] * 20}, "k4e4"),
        ({"r": [16, 20]}, "r is a list of 1"),
        ({"r": 17}, "no resolution 17"),
        ({"ks": [10**400] * 20}, "ks holds 10+..., which no subnet has"),
        ({"e": [10**400] * 20}, "e holds 10+..., which no subnet has"),
        ({"d": [10**400] * 5}, "d holds 10+..., which no subnet has"),
        ({"r": 10**400}, "r holds 10+..., which no subnet has"),
        ({"ks": [1e308] * 20}, r"ks holds 1e\+308..., which no subnet has"),
        ({"r": None}, "no number"),
        ({"r": 16.5}, "no whole number"),
        ({"e": None}, "e is a list of 20"),
    ],
)
def test_lists_that_are_no_subnet_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    good = {"ks": [3] * 20, "e": [4] * 20, "d": [2] * 5, "r": 16}
    (tmp_path / "s.json").write_text(json.dumps([good, {**good, **change}]))
    with pytest.raises(InputError, match=f"line 2: .*{message}"):
        read_subnets(tmp_path / "s.json", GLYPHS)
    for key in ("e", "d", "r"):
        (tmp_path / "s.json").write_text(json.dumps({k: v for k, v in good.items() if k != key}))
        with pytest.raises(InputError, match=f"lacks {key}"):
            read_subnets(tmp_path / "s.json", GLYPHS)


def network(arch: str, family: str = "imagenet-w1.0") -> dict[str, Any]:
    """OFA's configuration of a specialised network."""
    return config_of(arch_blocks(get_family(family), Arch.parse(arch)))


PUBLISHED = "r176-k3e3_k5e4-k3e6_k3e6_k7e3-k3e4_k3e4-k5e6_k3e3_k3e4_k7e6-k3e3_k3e6"


def test_a_published_network_is_a_subnet(tmp_path: Path) -> None:
    config, path, family = network(PUBLISHED), tmp_path / "net.config", get_family("imagenet-w1.0")
    path.write_text(json.dumps({"config": config, "image_size": 176}))
    assert [str(arch) for arch in read_subnets(path, family).archs()] == [PUBLISHED]
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match="does not tell the side of its images"):
        read_subnets(path, family)
    (tmp_path / "run.config").write_text(json.dumps({"image_size": 176}))
    assert [str(arch) for arch in read_subnets(path, family).archs()] == [PUBLISHED]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(name="ProxylessNASNets"), "a ProxylessNASNets has no final_expand_layer"),
        (lambda c: c.update(blocks=c["blocks"][:3]), "takes 160 channels, the layer before it gives 24"),
        (lambda c: c.update(blocks=[]), "takes 160 channels, the layer before it gives 16"),
        (lambda c: c.update(blocks=None), "has no list of blocks"),
        (
            lambda c: c["blocks"][1]["mobile_inverted_conv"].update(out_channels=32),
            "takes 24 channels, the layer before it gives 32",
        ),
        (
            lambda c: c["blocks"][1]["mobile_inverted_conv"].update(mid_channels=50),
            "block 2 has hidden_channels 50; imagenet-w1.0 has 48 there",
        ),
        (lambda c: c["blocks"][1]["mobile_inverted_conv"].update(stride=1), "block 2 has stride 1"),
        (lambda c: c["blocks"][0]["mobile_inverted_conv"].update(kernel_size=5), "block 1 has kernel 5"),
        (lambda c: c["blocks"][2].update(mobile_inverted_conv=None), "not a net.config of OFA"),
    ],
)
def test_a_network_outside_the_family_is_refused(edit: Any, message: str, tmp_path: Path) -> None:
    config = network(PUBLISHED)
    edit(config)
    (tmp_path / "net.config").write_text(json.dumps({"config": config, "image_size": 176}))
    with pytest.raises(InputError, match=message):
        read_subnets(tmp_path / "net.config", get_family("imagenet-w1.0"))


def test_the_published_networks_are_subnets_of_our_families(
    published: Callable[[str], Path], tmp_path: Path
) -> None:
    families = [get_family(name) for name in ("imagenet-w1.0", "imagenet-w1.2", "proxyless-w1.3")]
    lines = published("ofa_published_nets.jsonl").read_text().splitlines()
    for line in lines:
        given = json.loads(line)
        found = []
        for family in (family.with_resolutions([given["image_size"]]) for family in families):
            (tmp_path / "net.json").write_text(line)
            try:
                (arch,) = read_subnets(tmp_path / "net.json", family).archs()
            except InputError:
                continue
            assert arch_blocks(family, arch) == published_network(given["config"], given["image_size"])
            found.append(family.name)
        assert len(found) == 1, given["name"]
    assert len(lines) == 33


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "line 1: not a subnet"),
        ("[]", "holds no subnets"),
        ("[1]", "line 1: not a subnet"),
        ("[[]]", "line 1: not a subnet"),
        ('{"r": 16', "not JSON"),
        ('{"arch": 5}', "line 1: not a subnet"),
        ('{"arch": "r16-k3e3"}\n{"arch":', "line 2: not JSON"),
        ("[" * 100_000, "nested too deep"),
        ("r16-k3e3_k3e3\n", "line 1: r16-k3e3_k3e3: glyphs has 5 units"),
        ("r" + "9" * 5000 + "-k3e3\n", "line 1: not a subnet"),
        ("a,b\n" + "{" * 2000 + ",1\n", "lacks r"),
        ("arch,r\n" + "{'a':" * 2000 + ",1\n", "line 2: not a subnet"),
    ],
)
def test_no_form_at_all_is_one_short_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_text(text)
    with pytest.raises(InputError, match=message) as refused:
        read_subnets(tmp_path / "s", GLYPHS)
    assert len(str(refused.value)) < 500


def test_text_and_numbers_that_disagree_are_refused(tmp_path: Path) -> None:
    one, other = subnets(2)
    path = tmp_path / "s.csv"
    header, cells = subnet_columns(GLYPHS, one[None])
    write_csv(path, [*header, "arch"], [[*cells[0], str(decode(GLYPHS, other[None])[0])]], {})
    with pytest.raises(InputError, match="line 2: arch is not what the columns"):
        read_subnets(path, GLYPHS)


@pytest.mark.parametrize("text", ["1e-320", "1e300", "1_0", "٣", "1e-9"])
def test_absurd_latencies_are_refused(text: str, tmp_path: Path) -> None:
    path = edited(tmp_path / "s.csv", ",0.5\n", f",{text}\n")
    with pytest.raises(InputError, match="not a positive number of milliseconds"):
        read_subnets(path, GLYPHS).latencies("cpu_ms")
