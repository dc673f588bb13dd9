"""``hwbench describe``: any network, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import describe
from ofa_configs import config_of

from compofa.network import arch_blocks
from compofa.spaces.arch import Arch
from compofa.spaces.registry import get_family
from hwbench import shipped
from lut.calibration import load_model

ARCH = "r24-k3e3_k3e3-k5e4_k5e4_k5e4-k3e3_k3e3-k3e6_k3e6_k3e6_k3e6-k5e3_k5e3"


def test_a_subnet_with_the_latency_of_each_block(capsys: pytest.CaptureFixture[str]) -> None:
    table = shipped.reference_table("glyphs")
    assert describe.main([ARCH, "--lut", str(table), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    blocks = arch_blocks(get_family("glyphs"), Arch.parse(ARCH))
    model = load_model(table)
    assert document["macs"] == sum(block.macs for block in blocks)
    assert document["latency"]["predicted_ms"] == pytest.approx(model.latency_ms(blocks))
    assert sum(row["latency_ms"] for row in document["blocks"]) == pytest.approx(
        model.table.latency_ms(blocks)
    )


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main([ARCH]) == 0
    out = capsys.readouterr().out
    assert "mbconv" in out and "parameters" in out and "latency" not in out


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("{}", ["--resolution", "32"], "not a net.config"),
        ('{"name": "MobileNetV3"}', [], "give --resolution"),
        ("[" * 10_000, ["--resolution", "32"], "not JSON"),
    ],
)
def test_a_file_that_is_no_network(
    content: str, options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.config"
    path.write_text(content)
    assert describe.main([str(path), *options]) == 2
    assert message in capsys.readouterr().err


def test_what_is_neither_a_file_nor_a_subnet(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main(["nothing.config"]) == 2
    assert "not a subnet" in capsys.readouterr().err


def test_a_file_may_hold_any_form_of_a_subnet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    family = get_family("glyphs")
    arch = Arch.parse(ARCH)
    blocks = arch_blocks(family, arch)
    config = config_of(blocks)
    lists = {
        "ks": [k for unit in arch.units for k, _ in (*unit, *((3, 3),) * (4 - len(unit)))],
        "e": [e for unit in arch.units for _, e in (*unit, *((3, 3),) * (4 - len(unit)))],
        "d": list(arch.depths),
        "r": arch.resolution,
    }
    for value, given in (
        (config, ["--resolution", str(arch.resolution)]),
        ({"config": config, "image_size": arch.resolution}, []),
        ({"arch": ARCH}, []),
        (lists, []),
    ):
        path = tmp_path / "net.json"
        path.write_text(json.dumps(value))
        assert describe.main([str(path), *given, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert [row["block"] for row in document["blocks"]] == list(map(str, blocks))
