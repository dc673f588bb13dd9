"""What ``import hwbench`` gives."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest

import hwbench
from hwbench import cli
from lut.costs import macs

NAMES = {
    "Arch", "Block", "CostModel", "Family", "HwbenchError", "InputError", "Network", "RunFailed", "Unavailable",
    "build_table", "couplings", "doctor", "evaluate", "families", "fit", "get_family", "get_space", "network",
    "open_table", "pareto", "profile", "reference_table", "search", "showing", "specialize", "train", "validate",
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert set(hwbench.__all__) == NAMES
    assert set(dir(hwbench)) >= NAMES
    for name in NAMES:
        assert getattr(hwbench, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'; it has Arch"):
        hwbench.nothing  # noqa: B018


HOMES = sorted({getattr(hwbench, name).__module__ for name in hwbench.__all__})


@pytest.mark.parametrize("home", HOMES)
def test_every_example_runs(home: str) -> None:
    """And each public name has one, of which no line is left out."""
    module = import_module(home)
    names = [name for name in hwbench.__all__ if getattr(hwbench, name).__module__ == home]
    for name in names:
        shown = getattr(module, name).__doc__
        assert ">>> import hwbench" in shown and "+SKIP" not in shown, name
    found = doctest.testmod(module)
    assert found.attempted >= 2 * len(names) and not found.failed


def test_commands_do_not_take_the_place_of_functions() -> None:
    for name in set(hwbench.__all__) & set(cli.COMMANDS):
        command = import_module(f"hwbench.{name}")
        assert command.main and getattr(hwbench, name) is not command


def test_work_is_silent_until_it_is_asked(capfd: pytest.CaptureFixture[str]) -> None:
    def found() -> None:
        hwbench.search(hwbench.reference_table(), space="compofa", latency_ms=[0.2, 1e-6])

    found()
    assert capfd.readouterr() == ("", "")
    with hwbench.showing():
        hwbench.pareto(spaces=["compofa"])
    assert "the shipped reference table" in capfd.readouterr().err


def test_results_are_frames_and_documents(tmp_path) -> None:
    built = hwbench.build_table(
        "fpga", options={"target": "zcu102-b4096"}, space="compofa", out=tmp_path / "dpu.jsonl"
    )
    blocks = built.to_frame()
    assert len(blocks) == len(built.table.entries) and set(blocks.origin) == {"modelled"}
    found = hwbench.search(built.path, space="compofa", latency_ms=[1.0, 1e-6])
    frame = found.to_frame()
    assert (
        list(frame.columns) == ["arch", "accuracy", "latency_ms"] and frame.latency_ms.is_monotonic_increasing
    )
    assert found.best[0].latency_ms <= 1.0 and found.best[1] is None and "1e-06 ms" in found.unmet[1]
    fronts = hwbench.pareto(built.path, spaces=["compofa"])
    frame = fronts.to_frame()
    assert len(frame) == 1215 and frame.on_frontier.sum() == len(fronts.frontiers["compofa"])
    assert fronts._repr_png_().startswith(b"\x89PNG")
    for document in (built.summary, found.to_dict(), fronts.to_dict()):
        json.dumps(document, allow_nan=False)
    for shown in map(repr, (built, found, fronts)):
        assert "modelled" in shown or "ZCU102" in shown or "frontier" in shown


def test_a_cost_of_ones_own_is_searched() -> None:
    """Anything with the protocol's methods: here twice the MACs, which changes no optimum."""

    @dataclass(frozen=True)
    class Twice:
        half: hwbench.CostModel
        name, label, unit = "twice_m", "twice (M)", "M"
        provenance, of, setting = "made up", "nothing", None

        def predict(self, genotypes):
            return 2 * self.half.predict(genotypes)

        def __getattr__(self, name):
            return getattr(self.half, name)

        def as_lookup(self):
            return None

    own = Twice(macs(hwbench.get_family("glyphs")))
    mine = hwbench.search(own, space="compofa")
    theirs = hwbench.search("macs", space="compofa")
    assert [s.arch for s in mine.frontier] == [s.arch for s in theirs.frontier]
    assert mine.frontier[0].costs["twice_m"] == 2 * theirs.frontier[0].costs["macs_m"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"costs": {}}, "no cost is given"),
        ({"costs": [hwbench.reference_table()]}, "a list is no cost"),
        ({"latency_ms": "20"}, "'20' is not a latency"),
        ({"latency_ms": None}, "None is not a latency"),
        ({"latency_ms": [float("nan")]}, "nan is not a latency"),
        ({"costs": "macs", "latency_ms": 20}, "latency_ms limits latencies"),
        ({"max_macs": 0}, "max_macs must be a positive number, not 0"),
        ({"max_params": -5}, "max_params must be a positive number"),
        ({"max_memory_mb": float("inf")}, "max_memory_mb must be a positive number"),
        ({"supernet": "x"}, "supernet is of measuring"),
        ({"workers": 2}, "workers is of measuring"),
        (
            {"space": hwbench.get_space("compofa", hwbench.get_family("imagenet-w1.0"))},
            "is one of imagenet-w1.0",
        ),
    ],
    ids=str,
)
def test_a_search_refuses_what_it_would_drop_or_mistake(given, words: str) -> None:
    with pytest.raises(hwbench.InputError, match=words):
        hwbench.search(**{"costs": hwbench.reference_table(), "space": "compofa", **given})


def test_limits_may_be_any_iterable_and_costs_of_several_kinds_keep_their_names() -> None:
    table = hwbench.reference_table()
    wanted = [0.2, 0.3]
    for limits in (wanted, tuple(wanted), np.array(wanted), (limit for limit in wanted)):
        assert len(hwbench.search(table, space="compofa", latency_ms=limits).best) == 2
    found = hwbench.search({"lat": table, "m": "macs"}, space="compofa", latency_ms={"lat": 0.3})
    row = found.to_dict()["results"][0]
    assert row["latency_ms"]["lat"] <= 0.3 and row["macs_m"]["m"] == found.best[0].costs["macs_m_m"]


def test_errors_are_one_tree() -> None:
    assert issubclass(hwbench.InputError, hwbench.HwbenchError) and issubclass(hwbench.InputError, ValueError)
    with pytest.raises(hwbench.InputError, match="unknown family 'nothing'"):
        hwbench.network("r32-k3e3", "nothing")
    with pytest.raises(hwbench.HwbenchError, match="glyphs has 5 units"):
        hwbench.network("r32-k3e3")


def test_importing_and_reading_a_table_loads_nothing_heavy() -> None:
    code = (
        "import sys, hwbench; assert 'numpy' not in sys.modules;"
        "t = hwbench.open_table(hwbench.reference_table());"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'sklearn', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
