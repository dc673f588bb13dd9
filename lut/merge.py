"""Several tables of one target and family become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backends.base import Measurement
from compofa.blocks import Block
from compofa.errors import InputError
from lut.table import Table

RULES = ("refuse", "first", "quieter")
"""What to do with a block that two tables have measured: refuse to merge, take the table named first, or take the
measurement with the narrower interval, a noisy one only if both are."""


def merge(tables: Sequence[Table], names: Sequence[str], created: str, rule: str = "refuse") -> Table:
    """All entries of `tables`. A measured entry always comes before a predicted one, of two predicted ones the
    one with the narrower interval. A block that some table could measure did not fail.

    Args:
        tables: at least one; the first one's header stays, with the resolutions of all.
        names: of the tables, for messages.
        created: date and time of the merged table, in UTC.
        rule: from :data:`RULES`.

    Raises:
        ValueError: they are of different targets or families, or two have measured one block and `rule` refuses; or
            there is no such rule.
    """
    if rule not in RULES:
        raise InputError(f"there is no rule {rule!r}; there are {', '.join(RULES)}")
    first = tables[0]
    entries: dict[Block, Measurement] = {}
    failures: dict[Block, str] = {}
    exceptions: dict[tuple[int, Block], Measurement] = {}
    for table, name in zip(tables, names, strict=True):
        if differences := first.header.differences(table.header):
            raise InputError(
                f"{names[0]} and {name} are tables of different things: {'; '.join(differences)}"
            )
        both = [block for block, m in table.entries.items() if _conflict(entries.get(block), m)]
        if both and rule == "refuse":
            raise InputError(
                f"{name} has measured {len(both)} blocks that a table before it has, too, the first being {both[0]}: "
                "say --on-conflict first or quieter"
            )
        failures = table.failures | failures
        # The table whose word on a block counts, counts at each resolution; of two that agree, both do.
        same = {b for b, m in table.entries.items() if entries.get(b) == m}
        better = {b for b, m in table.entries.items() if _better(entries.get(b), m, rule) is m} - same
        exceptions = {key: m for key, m in exceptions.items() if key[1] not in better}
        mine = {key: m for key, m in table.exceptions.items() if key[1] in better | same}
        exceptions = mine | exceptions
        for block, measurement in table.entries.items():
            entries[block] = _better(entries.get(block), measurement, rule)
    resolutions = sorted({r for table in tables for r in table.header.resolutions})
    return Table(
        replace(first.header, created=created, resolutions=tuple(resolutions)),
        entries=_without_predictions_of(failures, entries),
        failures={block: why for block, why in failures.items() if not _known(entries.get(block))},
        exceptions=exceptions,
    )


def _known(measurement: Measurement | None) -> bool:
    return measurement is not None and measurement.origin != "predicted"


def _without_predictions_of(
    failures: dict[Block, str], entries: dict[Block, Measurement]
) -> dict[Block, Measurement]:
    return {block: m for block, m in entries.items() if block not in failures or _known(m)}


def _conflict(one: Measurement | None, other: Measurement) -> bool:
    return one is not None and one != other and "predicted" not in (one.origin, other.origin)


def _better(one: Measurement | None, other: Measurement, rule: str) -> Measurement:
    if one is None:
        return other
    if _conflict(one, other) and rule == "first":
        return one
    return min(
        one, other, key=lambda m: (m.origin == "predicted", m.noisy, (m.high_ms - m.low_ms) / m.latency_ms)
    )
