"""A table answers with sums, or says what it lacks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compofa.network import arch_blocks
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import get_space
from lut import store
from lut.table import MissingEntry, Table

A, B, C, *_ = GLYPHS.resolutions


def only(table: Table, *keep: tuple[str, tuple[int, ...]]) -> Table:
    """`table` with the blocks of some (space, resolutions) only."""
    kept = {b for name, resolutions in keep for b in get_space(name, GLYPHS).all_blocks(resolutions)}
    return replace(table, entries={b: m for b, m in table.entries.items() if b in kept})


def test_a_network_costs_the_sum_of_its_blocks(table: Table) -> None:
    arch = get_space("ofa", GLYPHS).sample(np.random.default_rng(0))
    blocks = arch_blocks(GLYPHS, arch)
    assert table.latency_ms(blocks) == pytest.approx(0.01 * len(blocks) + sum(b.macs for b in blocks) / 1e6)


def test_missing_entries_are_counted_and_the_first_is_named(table: Table) -> None:
    strange = get_space("ofa", get_family("imagenet-w1.0")).all_blocks((160,))[:3]
    with pytest.raises(MissingEntry, match=f"3 of the blocks, the first being {strange[0]}"):
        table.latency_ms((*table.entries, *strange))
    assert issubclass(MissingEntry, LookupError)


def test_coverage_is_the_share_of_the_blocks_that_are_there(table: Table) -> None:
    ofa = get_space("ofa", GLYPHS)
    half = only(table, ("ofa", (A,)))
    assert table.coverage(ofa) == 1
    assert half.coverage(ofa, (A,)) == 1
    assert 0 < half.coverage(ofa) < 1
    lacking = len(half.missing(ofa))
    assert math.isclose(half.coverage(ofa), 1 - lacking / len(ofa.all_blocks()))
    assert lacking == len(ofa.all_blocks()) - len(half.entries)


def test_a_table_knows_which_space_it_can_answer_for(table: Table) -> None:
    partial = only(table, ("ofa", (A,)), ("compofa", (B, C)))
    assert partial.complete_resolutions(get_space("ofa", GLYPHS)) == (A,)
    assert partial.complete_resolutions(get_space("compofa", GLYPHS)) == (A, B, C)
    assert partial.widest_space().name == "ofa"
    assert only(table, ("compofa", (B,))).widest_space().name == "compofa"
    with pytest.raises(MissingEntry, match="build_lut"):
        replace(table, entries={}).widest_space()


def test_a_table_says_how_its_entries_came_about(table: Table) -> None:
    assert (table.origins, table.provenance) == ({"modelled": len(table.entries)}, "modelled")
    block, *_ = table.entries
    mixed = replace(
        table, entries={**table.entries, block: replace(table.entries[block], origin="predicted")}
    )
    count = len(table.entries) - 1
    assert mixed.origins == {"modelled": count, "predicted": 1}
    assert mixed.provenance == f"{count} blocks modelled, 1 predicted"


def test_the_resolutions_of_a_table_are_those_it_has_blocks_of_their_own_of(table: Table) -> None:
    assert table.resolutions == GLYPHS.resolutions
    assert only(table, ("compofa", (B,))).resolutions == (B,)


def test_a_table_is_loaded_from_its_file(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with store.Writer(path, table.header) as writer:
        writer.append(table.entries.items())
    assert Table.load(path) == table


def test_a_family_that_this_version_does_not_have_is_said(table: Table) -> None:
    with pytest.raises(ValueError, match="unknown family 'resnets'"):
        _ = replace(table, header=replace(table.header, family="resnets")).family
