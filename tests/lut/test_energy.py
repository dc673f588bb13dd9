"""Energies of a table as a cost: sums of its blocks', refused where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import couplings, pareto, search

from backends.base import Measurement, Target
from compofa.errors import InputError
from compofa.network import arch_blocks
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import shipped
from lut import store
from lut.energy import EnergyModel
from lut.header import Header
from lut.lookup import MissingEntry
from lut.table import Table

SPACE = get_space("compofa", GLYPHS)


def written(path: Path, without: int = 0) -> Path:
    """A table with energies of 1 mJ and 1 a million MACs for all blocks of CompOFA but some."""
    header = Header(Target("none", "a board"), "glyphs", "compofa", GLYPHS.resolutions, "2026")
    with store.Writer(path, header) as writer:
        for number, block in enumerate(SPACE.all_blocks()):
            details = (("energy_mj", 1 + block.macs / 1e6),) if number >= without else ()
            writer.append([(block, Measurement("measured", 0.1, 0.1, 0.1, details=details))])
    return path


@pytest.fixture(scope="module")
def lut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("energy") / "t.jsonl")


def test_energies_are_sums_over_blocks(lut: Path) -> None:
    cost = EnergyModel(Table.load(lut))
    archs = [SPACE.sample(np.random.default_rng(i)) for i in range(5)]
    networks = [arch_blocks(GLYPHS, arch) for arch in archs]
    expected = [sum(1 + block.macs / 1e6 for block in network) for network in networks]
    np.testing.assert_allclose(cost.predict(encode(GLYPHS, archs)), expected)
    assert cost.unit == "mJ" and cost.of == "a board (none, fp32, batch 1, 1 thread)"


def test_a_table_without_energies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="build it with --energy yes"):
        EnergyModel(Table.load(shipped.reference_table("glyphs")))
    some = EnergyModel(Table.load(written(tmp_path / "some.jsonl", without=40)))
    with pytest.raises(MissingEntry):
        some.predict(SPACE.enumerate_genotypes())


def test_commands_trade_accuracy_against_energy(lut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--lut", str(lut)]
    assert search.main([*given, "--cost", "energy", "--space", "compofa"]) == 0
    shown = capsys.readouterr().out
    assert "energy (mJ)" in shown and "sum of the energies of the table's blocks, measured" in shown
    assert pareto.main([*given, "--x", "energy", "--space", "compofa"]) == 0
    assert "hypervolume in mJ x accuracy" in capsys.readouterr().out
    assert couplings.main(["--cost", "energy", "--lut", str(shipped.reference_table("glyphs"))]) == 2
    assert "holds no energies: build it with --energy yes" in capsys.readouterr().err
