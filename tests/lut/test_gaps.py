"""Gaps are filled with what says that it was predicted; what was measured stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut.gaps import fill, predict_missing
from lut.table import Table, known_entries

OFA = get_space("ofa", GLYPHS)


def half_of(table: Table) -> Table:
    return replace(table, entries=dict(list(table.entries.items())[::2]))


def test_a_filled_table_answers_for_everything_and_says_what_it_is(table: Table) -> None:
    half = half_of(table)
    filled, filling = fill(half, OFA.all_blocks())
    assert filled.coverage(OFA) == 1
    assert filled.origins == {
        "modelled": len(half.entries),
        "predicted": len(OFA.all_blocks()) - len(half.entries),
    }
    assert filling.known == len(half.entries)
    assert all(filled.entries[block] == m for block, m in half.entries.items())
    for block, m in filling.entries.items():
        assert m.origin == "predicted" and not m.rounds_ms
        assert 0 < m.low_ms < m.latency_ms < m.high_ms
        assert m.latency_ms == pytest.approx(table.entries[block].latency_ms, rel=0.05)


def test_predictions_are_not_learned_from(table: Table) -> None:
    half = half_of(table)
    filled, first = fill(half, OFA.all_blocks())
    wrong = {b: replace(m, latency_ms=99.0, high_ms=99.0) for b, m in first.entries.items()}
    again = predict_missing(filled.entries | wrong, OFA.all_blocks())
    assert again.entries == first.entries
    assert known_entries(filled.entries) == half.entries


def test_too_little_is_said(table: Table) -> None:
    with pytest.raises(ValueError, match="20 measured blocks or more are needed"):
        fill(replace(table, entries=dict(list(table.entries.items())[:19])), OFA.all_blocks())


def test_what_cannot_run_is_not_predicted(table: Table) -> None:
    half = half_of(table)
    failed = next(block for block in OFA.all_blocks() if block not in half.entries)
    filled, filling = fill(replace(half, failures={failed: "no space"}), OFA.all_blocks())
    assert failed not in filling.entries and failed not in filled.entries
    assert filled.failures == {failed: "no space"} and filled.missing(OFA) == ()
