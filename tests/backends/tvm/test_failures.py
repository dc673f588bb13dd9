"""Blocks that TVM cannot compile, or that compute something else: each costs itself and no other block."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from commands import build_lut

from backends.base import BlocksFailed, CannotRun, Network, Settings
from backends.measuring.timing import TimingSettings
from backends.tvm.backend import TvmBackend
from backends.tvm.library import Recipe
from backends.tvm.loopback import Farm
from compofa.blocks import Block
from hwbench import building
from lut import store

pytestmark = pytest.mark.needs_tvm

QUICK = TimingSettings(rounds=3, rotation=4, max_warmup_ms=5.0)
UNKNOWN, WRONG, *GOOD = (Block("linear", (8, 1, 1), 8 + i) for i in range(5))
SPOILT_BY = {UNKNOWN: "NoSuchOperator", WRONG: "Sqrt"}


@dataclass(frozen=True)
class Spoilt(Recipe):
    """Ends the graphs of two blocks with one more operator: one that TVM does not know, and one that makes of
    negative numbers none."""

    def graph(self, network: Network) -> bytes:
        import onnx

        content = super().graph(network)
        if len(network) > 1 or network[0] not in SPOILT_BY:
            return content
        model = onnx.load_from_string(content)
        last = model.graph.node[-1]
        output, last.output[0] = last.output[0], "before"
        model.graph.node.append(onnx.helper.make_node(SPOILT_BY[network[0]], ["before"], [output]))
        spoilt: bytes = model.SerializeToString()
        return spoilt


def backend(**options: str) -> TvmBackend:
    some = TvmBackend(Settings(options=options), block_timing=QUICK, network_timing=QUICK)
    vars(some)["recipe"] = Spoilt(**{f.name: getattr(some.recipe, f.name) for f in fields(Recipe)})
    return some


def check_reasons(reasons: dict[Block, str]) -> None:
    assert reasons.keys() == {UNKNOWN, WRONG}
    assert reasons[UNKNOWN].startswith("TVM cannot compile it: ") and "NoSuchOperator" in reasons[UNKNOWN]
    assert reasons[WRONG] == "the output differs from ONNX Runtime's by nan, more than 0.001"
    assert not any("\n" in reason for reason in reasons.values())


def test_on_this_machine_the_table_says_so_and_the_exit_code_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some = backend()
    monkeypatch.setattr(building, "open_backend", lambda *args: some)
    monkeypatch.setattr(building, "plan", lambda *given: (iter([[UNKNOWN, *GOOD, WRONG]]), 5))
    path = tmp_path / "t.jsonl"
    assert build_lut.main(["--backend", "tvm", "--out", str(path)]) == 1
    assert store.read(path)[1].keys() == set(GOOD)
    check_reasons(store.read_failures(path))
    assert capsys.readouterr().err.count("\nfailed   linear-8x1x1-") == 2

    with pytest.raises(BlocksFailed) as failed:
        some.block_latencies([WRONG, GOOD[0], UNKNOWN])
    check_reasons(failed.value.reasons)
    with pytest.raises(CannotRun, match=r"linear-8x1x1-9-k1-s1: the output differs from ONNX Runtime's"):
        some.network_latencies([(GOOD[0],), (WRONG,)])
    with pytest.raises(CannotRun, match=r"linear-8x1x1-8-k1-s1: TVM cannot compile it"):
        some.network_latencies([(GOOD[0],), (UNKNOWN,)])
    with pytest.raises(CannotRun, match=r"linear-8x1x1-9-k1-s1: the output differs from ONNX Runtime's"):
        list(some.verify([WRONG]))
    some.boards.close()


def test_no_board_of_a_farm_is_dropped_for_it(farm: Farm, caplog: pytest.LogCaptureFixture) -> None:
    some = backend(rpc=farm.address, key=farm.key)
    batches = list(some.as_they_come([UNKNOWN, *GOOD, WRONG]))
    assert {block for batch in batches for block, _ in batch.entries} == set(GOOD)
    check_reasons({block: why for batch in batches for block, why in batch.failures.items()})
    assert len(some.boards.workers) == 2 and "dropped" not in caplog.text
    some.boards.close()
