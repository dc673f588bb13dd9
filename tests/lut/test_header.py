"""What a table is of: no two targets that differ are taken for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Target
from compofa.errors import InputError
from lut.header import target_differences

NAMES = st.sampled_from(("backend", "device", "precision", "timing", "torch", "mode"))
SETTINGS = st.dictionaries(NAMES, st.sampled_from("ab")).map(lambda found: tuple(sorted(found.items())))
TARGETS = st.builds(
    Target,
    backend=st.sampled_from("ab"),
    device=st.sampled_from("ab"),
    precision=st.sampled_from("ab"),
    batch=st.integers(1, 2),
    threads=st.integers(0, 1),
    versions=SETTINGS,
    details=SETTINGS,
)


@given(TARGETS, TARGETS)
def test_targets_differ_in_something_unless_they_are_equal(one: Target, other: Target) -> None:
    assert bool(target_differences(one, other)) == (one != other)


def test_two_gpus_are_two_targets_whatever_torch_calls_them() -> None:
    one = Target("torch", "NVIDIA H100", details=(("device", "cuda"),))
    other = replace(one, device="GTX 1080")
    assert target_differences(one, other) == ["device NVIDIA H100, not GTX 1080"]


@pytest.mark.parametrize(
    "change",
    [
        {"threads": "2"},
        {"batch": 1.5},
        {"batch": True},
        {"device": 3},
        {"details": {"mode": ["a"]}},
        {"versions": [["torch"]]},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_target_of_wrong_types_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not a target"):
        Target.from_dict({**Target("torch", "a GPU").to_dict(), **change})
