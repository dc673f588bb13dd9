"""A change is what the intervals do not allow for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.base import Measurement
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut.compare import Comparison
from lut.table import Table

SMALL, LARGE = GLYPHS.resolutions[0], GLYPHS.resolutions[-1]


def scaled(table: Table, factor: float, half: float = 0.01, resolution: int | None = None) -> Table:
    """`table` with intervals of `half`, and the blocks of `resolution`, or all, `factor` times as slow."""
    slow = get_space("ofa", GLYPHS).all_blocks(None if resolution is None else (resolution,))
    entries = {}
    for block, m in table.entries.items():
        ms = m.latency_ms * (factor if block in slow else 1)
        entries[block] = Measurement("measured", ms, ms * (1 - half), ms * (1 + half))
    return replace(table, entries=entries)


def test_a_change_within_the_intervals_is_none(table: Table) -> None:
    found = Comparison(scaled(table, 1.0), scaled(table, 1.015))
    assert found.spread.slower == found.spread.faster == 0
    assert found.spread.median == pytest.approx(1.015)
    assert found.largest(5) == []


@pytest.mark.parametrize(("factor", "slower"), [(1.1, True), (0.9, False)])
def test_a_change_beyond_them_is_counted_and_listed(table: Table, factor: float, slower: bool) -> None:
    found = Comparison(scaled(table, 1.0), scaled(table, factor))
    count = len(table.entries)
    assert (found.spread.slower, found.spread.faster) == ((count, 0) if slower else (0, count))
    assert (found.spread.low, found.spread.high) == (pytest.approx(factor), pytest.approx(factor))
    assert found.worst_pct == pytest.approx(10)
    changes = [abs(c.new.latency_ms - c.old.latency_ms) for c in found.largest(4)]
    assert changes == sorted(changes, reverse=True) and len(changes) == 4


def test_a_change_at_one_resolution_is_seen_there(table: Table) -> None:
    found = Comparison(scaled(table, 1.0), scaled(table, 1.2, resolution=LARGE))
    assert found.by_resolution[LARGE].median == pytest.approx(1.2)
    assert found.by_resolution[SMALL].median == pytest.approx(1.0)
    assert found.spread.median == pytest.approx(1.0)
    assert found.worst_pct == pytest.approx(20)


def test_what_a_shared_block_costs_at_each_resolution_is_compared(table: Table) -> None:
    shared = next(b for b in table.entries if b.kind == "linear")
    old = scaled(table, 1.0)
    dear = scaled(table, 2.0).entries[shared]
    new = replace(old, exceptions={(SMALL, shared): dear})
    found = Comparison(old, new)
    assert (found.by_resolution[SMALL].slower, found.by_resolution[LARGE].slower) == (1, 0)
    assert found.changes[shared].ratio == 1
    # Of one resolution in common all that is compared is of that one.
    here = get_space("ofa", GLYPHS).all_blocks((SMALL,))
    alone = replace(old, entries={b: m for b, m in old.entries.items() if b in here} | {shared: dear})
    assert Comparison(alone, new).changes[shared].ratio == 1


def test_a_resolution_that_is_none_of_the_familys_is_compared(table: Table) -> None:
    family = GLYPHS.with_resolutions((48,))
    blocks = get_space("ofa", family).all_blocks((48,))
    other = Table(
        replace(table.header, resolutions=(48,)),
        dict.fromkeys(blocks, Measurement("measured", 1.0, 0.9, 1.1)),
    )
    assert list(Comparison(other, other).by_resolution) == [48]


def test_blocks_of_one_table_only_are_counted(table: Table) -> None:
    items = list(scaled(table, 1.0).entries.items())
    found = Comparison(replace(table, entries=dict(items[:-3])), replace(table, entries=dict(items[5:])))
    assert (found.only_old, found.only_new, len(found.changes)) == (5, 3, len(items) - 8)


def test_what_cannot_be_compared_is_refused(table: Table) -> None:
    other = replace(table, header=replace(table.header, family="imagenet-w1.0"))
    with pytest.raises(ValueError, match="different families, glyphs and imagenet"):
        Comparison(table, other)
    with pytest.raises(ValueError, match="no block in common"):
        Comparison(table, replace(table, entries={}))
