"""Tables become one only if they are of one thing, and a conflict is settled as asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.base import Measurement
from lut.merge import merge
from lut.table import Table


def parts(table: Table) -> tuple[Table, Table]:
    """Two tables that share one block, measured in both, the second one more quietly."""
    items = list(table.entries.items())
    block = items[10][0]
    one = dict(items[:10]) | {block: Measurement("measured", 1.0, 0.9, 1.1)}
    other = {block: Measurement("measured", 2.0, 1.99, 2.01)} | dict(items[11:20])
    header = replace(table.header, resolutions=table.header.resolutions[:1])
    return replace(table, header=header, entries=one), replace(table, entries=other)


def test_entries_of_all_come_together(table: Table) -> None:
    one, other = parts(table)
    merged = merge([one, other], ["a", "b"], "2027", "first")
    assert merged.entries.keys() == one.entries.keys() | other.entries.keys()
    assert merged.header.resolutions == table.header.resolutions
    assert (merged.header.created, merged.target) == ("2027", table.target)


@pytest.mark.parametrize(("rule", "expected"), [("first", 1.0), ("quieter", 2.0)])
def test_a_conflict_is_settled_by_the_rule(table: Table, rule: str, expected: float) -> None:
    one, other = parts(table)
    block = list(one.entries)[10]
    assert merge([one, other], ["a", "b"], "", rule).entries[block].latency_ms == expected


def test_a_noisy_measurement_is_not_quieter(table: Table) -> None:
    one, other = parts(table)
    block = list(one.entries)[10]
    loud = replace(other, entries=other.entries | {block: replace(other.entries[block], noisy=True)})
    assert merge([one, loud], ["a", "b"], "", "quieter").entries[block].latency_ms == 1.0


def test_a_conflict_is_refused_unless_a_rule_is_given(table: Table) -> None:
    one, other = parts(table)
    with pytest.raises(
        ValueError, match=r"b has measured 1 blocks that .* say --on-conflict first or quieter"
    ):
        merge([one, other], ["a", "b"], "")


def test_the_same_measurement_twice_is_no_conflict(table: Table) -> None:
    assert merge([table, table], ["a", "b"], table.header.created) == table


def test_what_equal_tables_say_of_a_resolution_is_kept_in_either_order(table: Table) -> None:
    """Files of one resolution each have their own word on a block that resolutions share."""
    block = next(iter(table.entries))
    words = {r: Measurement("measured", float(r), 0.9 * r, 1.1 * r) for r in table.resolutions[:2]}
    one, other = (replace(table, exceptions={(r, block): m}) for r, m in words.items())
    wanted = {(r, block): m for r, m in words.items()}
    for tables in ([one, other], [other, one], [table, one, other]):
        assert merge(tables, ["a", "b", "c"][: len(tables)], "").exceptions == wanted


def test_an_unknown_rule_is_refused(table: Table) -> None:
    with pytest.raises(ValueError, match="there is no rule 'frist'; there are refuse, first, quieter"):
        merge([table], ["a"], "", "frist")


def test_measured_comes_before_predicted_and_the_surer_prediction_before_the_other(table: Table) -> None:
    block = next(iter(table.entries))
    sure, unsure = Measurement("predicted", 3.0, 2.9, 3.1), Measurement("predicted", 4.0, 1.0, 9.0)
    measured = Measurement("measured", 5.0, 1.0, 9.0, noisy=True)
    as_table = lambda m: replace(table, entries={block: m})  # noqa: E731
    for order in ([sure, measured], [measured, sure]):
        assert merge([*map(as_table, order)], ["a", "b"], "").entries[block] == measured
    assert merge([as_table(unsure), as_table(sure)], ["a", "b"], "").entries[block] == sure


def test_tables_of_other_targets_or_families_are_refused(table: Table) -> None:
    elsewhere = replace(table, header=replace(table.header, target=replace(table.target, threads=2)))
    with pytest.raises(ValueError, match="a and b are tables of different things: threads 1, not 2"):
        merge([table, elsewhere], ["a", "b"], "")
    family = replace(table, header=replace(table.header, family="imagenet-w1.0"))
    with pytest.raises(ValueError, match=r"family glyphs, not imagenet-w1\.0"):
        merge([table, family], ["a", "b"], "")


def test_what_failed_in_one_table_and_ran_in_another_did_not_fail(table: Table) -> None:
    """But a prediction is no proof that a block runs."""
    (a, m), (b, _), (c, _), *_ = table.entries.items()
    one = replace(table, entries={}, failures={a: "out of memory", b: "no space", c: "no space"})
    guess = Measurement("predicted", 1.0, 0.5, 2.0)
    other = replace(table, entries={a: m, c: guess}, failures={b: "another word"})
    for tables in ([one, other], [other, one]):
        merged = merge(tables, ["x", "y"], "")
        assert merged.entries == {a: m} and merged.failures.keys() == {b, c}
    assert merge([one, other], ["x", "y"], "").failures[b] == "no space"


def test_what_holds_at_one_resolution_goes_with_the_table_that_counts(table: Table) -> None:
    block, m = next(iter(table.entries.items()))
    other_m = Measurement("measured", 5.0, 4.99, 5.01)
    one = replace(table, entries={block: m}, exceptions={(16, block): Measurement("measured", 1.0, 0.9, 1.1)})
    other = replace(table, entries={block: other_m}, exceptions={(20, block): other_m})
    assert merge([one, other], ["x", "y"], "", "first").exceptions == one.exceptions
    assert merge([other, one], ["x", "y"], "", "first").exceptions == other.exceptions


def test_tables_timed_otherwise_do_not_merge_and_say_how_to_rebuild(table: Table) -> None:
    """A table of before there was a method, and tables of two versions of it."""
    now, later = (
        replace(table.header, target=replace(table.target, details=(("timing", method),)))
        for method in ("paired 1", "paired 2")
    )
    for one, other in ((table.header, now), (now, later), (later, table.header)):
        with pytest.raises(ValueError, match="build the older one anew with build_lut"):
            merge([replace(table, header=one), replace(table, header=other)], ["a", "b"], "", "first")
