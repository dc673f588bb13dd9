"""Whatever happens to a file, its reader reads it or refuses it: in words of the program's own, and in time.

A few cases of ``benchmarks/fuzz_readers.py``, which runs thousands in processes of their own.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "fuzz_readers.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_readers", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


fuzz = load_script()
SLOW = {"supernet", "published-supernet", "image", "table.yaml"}
"""Readers that take a tenth of a second or more: fewer cases."""
LEFT_OUT = {"accuracy-source"}
"""It fits a predictor, which takes seconds."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            made[name] = fuzz.Prepared.of(name, tmp_path_factory.mktemp("readers") / name)
        return made[name]

    return get


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(fuzz.READERS.keys() - LEFT_OUT))
def test_a_damaged_file_is_read_or_refused(name: str, prepared: Callable[[str], Any]) -> None:
    one = prepared(name)

    @given(seed=st.integers(0, 2**32))
    @settings(
        max_examples=3 if name in SLOW else 20,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(seed: int) -> None:
        kind, what = one.outcome(seed)
        assert kind in ("read", "refused"), f"{what}; --reader {name} --seed {seed} of {SCRIPT.name}"

    check()


def test_the_whole_files_are_read_and_damage_is_done(prepared: Callable[[str], Any]) -> None:
    """The cases are cases: nearly every file differs from the whole one, and some are still read."""
    for name in ("table.jsonl", "subnets.csv", "baseline", "recipe"):
        one = prepared(name)
        files = [one.damaged(seed) for seed in range(50)]
        assert sum(data != one.data for data in files) > 40
        assert one.damaged(7) == files[7]


def test_a_sealed_file_that_says_something_else_counts(
    prepared: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hwbench.gating import baseline

    one = prepared("baseline")
    assert {one.outcome(seed)[0] for seed in range(30)} <= {"read", "refused"}
    monkeypatch.setattr(baseline, "check_seal", lambda content: None)
    assert "accepted" in {one.outcome(seed)[0] for seed in range(30)}
