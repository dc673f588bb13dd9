"""What ``hwbench tables`` tells of a table and of two, for programs and for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hwbench import cli

if TYPE_CHECKING:
    from lut.compare import Change, Comparison
    from lut.table import Table


def describe(table: Table, top: int) -> dict[str, Any]:
    """What `table` holds, JSON-ready: header, coverage by resolution, and the `top` slowest blocks."""
    from lut.plausible import oddities
    from lut.trust import doubts

    header = table.header.to_dict()
    slowest = sorted(table.entries.items(), key=lambda item: -item[1].latency_ms)[:top]
    return {
        **{name: header[name] for name in ("family", "space", "created", "target", "host")},
        "classes": table.family.classes,
        "entries": len(table.entries),
        "origins": table.origins,
        "noisy": sum(m.noisy for m in table.entries.values()),
        "resolutions": _coverage(table),
        "slowest": [
            {
                "block": str(b),
                "latency_ms": m.latency_ms,
                "low_ms": m.low_ms,
                "high_ms": m.high_ms,
                "origin": m.origin,
            }
            for b, m in slowest
        ],
        "failures": {str(block): why for block, why in table.failures.items()},
        "odd": [
            {
                "block": str(odd.block),
                "resolution": odd.resolution,
                "latency_ms": odd.latency_ms,
                "reason": odd.reason,
            }
            for odd in oddities(table)
        ],
        "doubts": [asdict(doubt) for doubt in doubts(table)],
    }


def _coverage(table: Table) -> list[dict[str, Any]]:
    """How much of the blocks the table has, at each resolution that it is of."""
    from collections import Counter

    from backends.base import Measurement
    from compofa.spaces.space import get_space

    space = get_space("ofa", table.family_as_built)
    found = []
    for resolution in table.resolutions:
        blocks = space.all_blocks((resolution,))
        origins = Counter(table.entries[block].origin for block in blocks if block in table.entries)
        counts = {origin: origins[origin] for origin in Measurement.ORIGINS}
        failed = sum(block in table.failures for block in blocks)
        missing = len(blocks) - origins.total() - failed
        found.append(
            {"resolution": resolution, "blocks": len(blocks), **counts, "failed": failed, "missing": missing}
        )
    return found


def print_description(name: str, table: Table, document: dict[str, Any], top: int) -> None:
    from lut.table import in_words

    rows = [
        ("table", name),
        ("target", str(table.target)),
        ("family", f"{table.header.family_name}, space {document['space']}"),
        ("entries", f"{document['entries']}: {in_words(table.origins)}; {document['noisy']} noisy"),
        ("created", document["created"] or "not said"),
    ]
    rows += [("doubt", doubt["text"]) for doubt in document["doubts"]]
    for label, value in rows:
        print(f"{label:8} {value}")
    columns = ("blocks", "measured", "modelled", "predicted", "failed", "missing")
    cli.print_table(
        "blocks of OFA's space, by resolution",
        ("resolution", *columns),
        [
            (f"{row['resolution']} px", *(str(row[name]) for name in columns))
            for row in document["resolutions"]
        ],
    )
    cli.print_table(
        "slowest blocks",
        ("block", "ms", "95 % interval", "origin"),
        [
            (
                row["block"],
                f"{row['latency_ms']:.4g}",
                f"{row['low_ms']:.4g} - {row['high_ms']:.4g}",
                row["origin"],
            )
            for row in document["slowest"]
        ],
    )

    _print_some(
        "entries that do not fit the others",
        ("block", "reason"),
        [(_at(row["block"], row["resolution"]), row["reason"]) for row in document["odd"]],
        top,
    )
    _print_some("blocks that cannot run", ("block", "reason"), list(document["failures"].items()), top)


def _at(block: str, resolution: int | None) -> str:
    return block if resolution is None else f"{block} at {resolution} px"


def _print_some(title: str, columns: tuple[str, str], rows: list[tuple[str, str]], top: int) -> None:
    """Print `rows`, `top` at most, if there are any."""
    if rows:
        count = f"{len(rows)}" if len(rows) <= top else f"{top} of {len(rows)}; --top N lists more"
        cli.print_table(f"{title} ({count})", columns, rows[:top])


def describe_change(change: Change) -> dict[str, Any]:
    return {
        "block": str(change.block),
        "old_ms": change.old.latency_ms,
        "new_ms": change.new.latency_ms,
        "ratio": change.ratio,
        "origins": [change.old.origin, change.new.origin],
    }


def print_comparison(comparison: Comparison, document: dict[str, Any]) -> None:
    for line in document["target_differences"]:
        print(f"the targets differ: {line}")
    for count, which in ((comparison.only_old, "old"), (comparison.only_new, "new")):
        if count:
            print(f"{count} blocks are in the {which} table only")
    spreads = {"all": comparison.spread} | {f"{r} px": s for r, s in comparison.by_resolution.items()}
    cli.print_table(
        "new latency over old; slower and faster where the 95 % intervals do not meet",
        ("", "blocks", "slower", "faster", "median", "5 % of blocks", "95 %"),
        [
            (
                name,
                str(s.blocks),
                str(s.slower),
                str(s.faster),
                *(f"{v:.3f}" for v in (s.median, s.low, s.high)),
            )
            for name, s in spreads.items()
        ],
    )
    if document["largest"]:
        cli.print_table(
            "largest changes",
            ("block", "old (ms)", "new (ms)", "ratio"),
            [
                (row["block"], f"{row['old_ms']:.4g}", f"{row['new_ms']:.4g}", f"{row['ratio']:.3f}")
                for row in document["largest"]
            ],
        )
