"""Couplings judged by their frontiers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import moocore
import numpy as np
import pytest
from commands import couplings

import hwbench
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import Space, get_space
from hwbench.accuracy_source import open_accuracy
from lut.costs import macs


def test_the_ranking_is_that_of_the_hypervolumes() -> None:
    """Counted anew for each of CompOFA's kernels, from every subnet."""
    found = hwbench.couplings("macs", fixed=False)
    accuracy, cost = open_accuracy(None, get_space("ofa", GLYPHS)), macs(GLYPHS)
    for judged in found.ranking[::9]:
        genotypes = Space(GLYPHS, judged.coupling).enumerate_genotypes()
        points = np.column_stack([cost.predict(genotypes), accuracy.predict(genotypes)])
        expected = moocore.hypervolume(points, ref=np.array(found.reference_point), maximise=(False, True))
        assert judged.hypervolume == pytest.approx(expected)
    volumes = [judged.hypervolume for judged in found.ranking]
    assert volumes == sorted(volumes, reverse=True) and volumes[0] <= found.whole_hypervolume
    assert len(volumes) == 27 and sum(judged.published for judged in found.ranking) == 1
    assert found.ranking[found.published_rank - 1].published
    assert len(found.to_frame()) == 27 and "CompOFA's own is number" in repr(found)


def test_compofas_own_coupling_may_be_one_that_cannot_run(capsys) -> None:
    found = hwbench.couplings("macs", fixed=False)
    others = replace(found, ranking=[judged for judged in found.ranking if not judged.published])
    assert others.published_rank is None and "CompOFA's own cannot run" in repr(others)
    with hwbench.showing():
        couplings.print_summary(others.to_dict(), top=3)
    assert "no subnet of CompOFA's own coupling can run" in capsys.readouterr().err


def test_the_command_tells_the_best_and_compofas_own(tmp_path, capsys) -> None:
    rows = tmp_path / "c.csv"
    given = ["--cost", "macs", "--keep-fixed"]
    assert couplings.main([*given, "--top", "1", "--csv", str(rows)]) == 0
    shown = capsys.readouterr().out
    assert "27 couplings of 1,215 subnets each" in shown and "(CompOFA)" in shown
    with rows.open() as file:
        assert [row["rank"] for row in csv.DictReader(file)] == [str(i) for i in range(1, 28)]
    assert couplings.main([*given, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["origin"] == "counted" and document["accuracy_is"] == "predicted"
    assert all(0 < row["share_of_ofa"] <= 1 for row in document["couplings"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--family", "glyphs-resnet", "--cost", "macs"], "--accuracy"),
        (["--cost", "macs", "--lut", "t.jsonl"], "needs no latencies"),
        (["--lut", "missing.jsonl"], "missing.jsonl: No such file"),
        (["--csv", "/nowhere/c.csv"], "cannot write /nowhere/c.csv"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments: list[str], says: str) -> None:
    assert couplings.main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
