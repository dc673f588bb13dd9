"""What `hwbench verify` picks, and how it fails; what it computes is tested with the backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import verify

BLOCKS = get_space("ofa", GLYPHS).all_blocks(GLYPHS.resolutions[:1])


def test_one_of_each_sort_is_picked() -> None:
    chosen = verify.one_of_each_sort(BLOCKS)
    assert set(chosen) <= set(BLOCKS)
    for name in ("kind", "kernel", "stride", "se", "act", "shortcut", "expands"):
        assert {getattr(b, name) for b in chosen} == {getattr(b, name) for b in BLOCKS}
    assert len(chosen) < len(BLOCKS) / 2


def test_a_backend_that_cannot_tell_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main(["--backend", "fpga"]) == 2
    assert capsys.readouterr().err == (
        "hwbench verify: error: backend fpga cannot verify what it computes; tvm can\n"
    )


@pytest.mark.needs_tvm
def test_a_table_of_verdicts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    assert verify.main(["--backend", "tvm", "--blocks", "1"]) == 0
    shown = capsys.readouterr().out
    assert "conv-3x16x16-8-k3-s2-hswish" in shown
    assert "where   the target itself" in shown and "instructions" not in shown


@pytest.mark.needs_tvm
def test_an_unknown_target_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main(["--backend", "tvm", "--target", "pi"]) == 2
    assert capsys.readouterr().err.startswith(
        "hwbench verify: error: unknown target 'pi'; there are cortex-a53, "
    )
