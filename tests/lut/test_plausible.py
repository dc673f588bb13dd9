"""An entry that does not fit the others is listed; real tables are not drowned in warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backends.base import Measurement
from compofa.blocks import Block
from hwbench.shipped import reference_table
from lut.formats import read_table
from lut.plausible import oddities
from lut.table import Table

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.jsonl"))


def with_factor(table: Table, block: Block, factor: float) -> Table:
    m = table.entries[block]
    off = replace(m, latency_ms=factor * m.latency_ms, low_ms=factor * m.low_ms, high_ms=factor * m.high_ms)
    return replace(table, entries=table.entries | {block: off})


@pytest.mark.parametrize("path", [reference_table("glyphs"), *GOLDEN], ids=lambda path: path.stem)
def test_measured_tables_have_nothing_odd(path: Path) -> None:
    assert oddities(Table.load(path)) == []


def test_the_published_tables_have_nothing_odd(published: Callable[[str], Path]) -> None:
    assert oddities(read_table(published("note10_lut"))) == []


@pytest.mark.parametrize("factor", [0.01, 0.1, 10.0, 100.0])
def test_a_wrong_entry_is_listed_first_and_hardly_any_other(factor: float) -> None:
    table = Table.load(reference_table("glyphs"))
    for block in list(table.entries)[::15]:
        odd = oddities(with_factor(table, block, factor))
        assert odd[0].block == block and len(odd) <= 2, block


def test_half_or_twice_is_mostly_told() -> None:
    """By the order of its neighbours, or by the fit."""
    table = Table.load(reference_table("glyphs"))
    some = list(table.entries)[::10]
    for factor in (0.4, 2.5):
        told = sum(block in [o.block for o in oddities(with_factor(table, block, factor))] for block in some)
        assert told > 0.7 * len(some)


def block(**changes: object) -> Block:
    return replace(Block("mbconv", (136, 10, 10), 136, 408, 3, 1, True, "hswish", True), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (block(), block(kernel=5)),
        (block(), block(hidden_channels=816)),
        (block(), block(in_shape=(136, 14, 14))),
    ],
    ids=["kernel", "expand", "resolution"],
)
def test_a_larger_block_that_is_faster_is_listed(table: Table, small: Block, large: Block) -> None:
    """However few entries there are; not where the intervals are wide, nor for less than a fifth."""
    slow, fast = Measurement("measured", 2.4, 2.3, 2.5), Measurement("measured", 1.7, 1.6, 1.8)
    (odd,) = oddities(replace(table, entries={small: slow, large: fast}))
    assert odd.block == large and "29 % faster" in odd.reason
    assert oddities(replace(table, entries={small: fast, large: slow})) == []
    assert oddities(replace(table, entries={small: replace(slow, low_ms=1.9), large: fast})) == []
    assert (
        oddities(replace(table, entries={small: replace(slow, latency_ms=2.0, low_ms=1.9), large: fast}))
        == []
    )


def test_the_entry_that_stands_in_most_odd_pairs_is_blamed(table: Table) -> None:
    entries = {
        block(kernel=k, hidden_channels=h): Measurement("measured", ms, ms, ms)
        for (k, h), ms in {(3, 408): 1, (5, 408): 9, (7, 408): 1.2, (5, 544): 1.5, (5, 816): 2}.items()
    }
    assert [odd.block for odd in oddities(replace(table, entries=entries))] == [block(kernel=5)]


def test_what_a_resolution_says_of_a_block_is_held_against_the_others(table: Table) -> None:
    known, m = next(iter(table.entries.items()))
    off = replace(m, latency_ms=2 * m.latency_ms, low_ms=2 * m.low_ms, high_ms=2 * m.high_ms)
    (odd,) = oddities(replace(table, exceptions={(16, known): off, (20, known): m}))
    assert (odd.block, odd.resolution) == (known, 16)


def test_predictions_are_not_judged(table: Table) -> None:
    known = next(iter(table.entries))
    guess = Measurement("predicted", 1e-9, 0.0, 1.0)
    assert oddities(replace(table, entries=table.entries | {known: guess})) == []
