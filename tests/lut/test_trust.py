"""A table says why it is not to be trusted; the one that is taken unasked is the best of those there are."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from backends.base import Measurement
from compofa.blocks import Block
from compofa.spaces.registry import GLYPHS, get_family
from hwbench.shipped import reference_table
from lut import store
from lut.formats import write_table
from lut.table import Table
from lut.trust import choose_table, doubts


@pytest.fixture(scope="module")
def good() -> Table:
    """A measured, complete, quiet table."""
    return Table.load(reference_table("glyphs"))


def noisy(table: Table, share: float) -> Table:
    entries = {
        b: replace(m, noisy=i < share * len(table.entries)) for i, (b, m) in enumerate(table.entries.items())
    }
    return replace(table, entries=entries)


def some(table: Table) -> Table:
    return replace(table, entries=dict(list(table.entries.items())[:100]))


def modelled(table: Table) -> Table:
    return replace(table, entries={b: replace(m, origin="modelled") for b, m in table.entries.items()})


def failing(table: Table) -> Table:
    block = next(b for b in table.entries if b.kind == "mbconv")
    return replace(
        table, entries={b: m for b, m in table.entries.items() if b != block}, failures={block: "no space"}
    )


def odd(table: Table) -> Table:
    block = list(table.entries)[50]
    return replace(table, entries=table.entries | {block: Measurement("measured", 9.0, 9.0, 9.0)})


def test_nothing_speaks_against_a_good_table(good: Table) -> None:
    assert doubts(noisy(good, 0.3), good.header.host["cpu"]) == []


@pytest.mark.parametrize(
    ("change", "kind", "serious", "says"),
    [
        (some, "unfinished", True, "lacks 267 of the 367 blocks of ofa at its resolutions: finish it with"),
        (lambda t: noisy(t, 0.6), "noisy", True, "221 of its 367 entries are noisy: build it again"),
        (modelled, "modelled", False, "367 of its 367 entries are modelled, not measured"),
        (failing, "failures", False, "1 blocks cannot run on .*no space"),
        (odd, "implausible", False, "1 of its 367 entries do not fit the others, .*hwbench tables show"),
        (lambda t: t, "another machine", False, "and this is Another CPU: build one here"),
    ],
)
def test_each_doubt_is_one_line_with_advice(good: Table, change, kind: str, serious: bool, says: str) -> None:  # type: ignore[no-untyped-def]
    (found,) = (d for d in doubts(change(good), "Another CPU") if d.kind == kind)
    assert found.serious == serious and "\n" not in found.text
    assert re.search(says, found.text), found.text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    (tmp_path / "tables").mkdir()
    return tmp_path / "tables"


def written(folder: Path, *tables: tuple[str, Table]) -> None:
    """Oldest first."""
    for age, (name, table) in enumerate(tables):
        (path,) = write_table(table, folder / f"{name}.jsonl")
        os.utime(path, (1000 + age, 1000 + age))


def chosen(cpu: str | None = None) -> tuple[str, str]:
    choice = choose_table(GLYPHS, cpu)
    assert choice
    return choice.path.stem, choice.why


def test_of_equals_the_newest_is_taken(folder: Path, good: Table) -> None:
    assert choose_table(GLYPHS) is None
    written(folder, ("a", good))
    assert chosen() == ("a", "")
    written(folder, ("a", good), ("b", good))
    assert chosen() == ("b", "the newest of 2 tables")


def test_what_a_killed_process_was_writing_is_no_table(folder: Path, good: Table) -> None:
    written(folder, ("a", good), (".b.0123456789ab", good))
    assert chosen() == ("a", "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (some, "it lacks 267"),
        (modelled, "are modelled"),
        (lambda t: noisy(t, 0.6), "are noisy"),
        (
            lambda t: replace(
                t,
                header=replace(t.header, host={"cpu": "X"}, target=replace(t.target, device="X")),
            ),
            "latencies are of X",
        ),
    ],
)
def test_a_newer_one_that_is_worse_is_not_taken_and_why(folder: Path, good: Table, change, says: str) -> None:  # type: ignore[no-untyped-def]
    written(folder, ("good", good), ("worse", change(good)))
    name, why = chosen(good.header.host["cpu"])
    assert name == "good" and why.startswith("not the newest one, worse.jsonl: ") and says in why
    (folder / "good.jsonl").unlink()
    assert chosen()[0] == "worse"


def test_what_holds_nothing_or_is_no_table_of_the_family_is_passed_over(folder: Path, good: Table) -> None:
    written(folder, ("good", good))
    header = store.read_header(folder / "good.jsonl").to_dict()
    (folder / "header.jsonl").write_bytes((folder / "good.jsonl").read_bytes().split(b"\n")[0] + b"\n")
    (folder / "notes.jsonl").write_text("mine\n")
    (folder / "empty.jsonl").touch()
    (folder / "later.jsonl").write_bytes(
        (folder / "good.jsonl").read_bytes().replace(b'"space":"ofa"', b'"space":"of-tomorrow"', 1)
    )
    (folder / "broken.jsonl").write_bytes(
        (folder / "good.jsonl").read_bytes().replace(b'"origin"', b'"Origin"', 1)
    )
    other = replace(good, header=replace(good.header, classes=10))
    entries = {b: m for b, m in good.entries.items() if b.kind != "linear"}
    linear = next(b for b in good.entries if b.kind == "linear")
    entries[replace(linear, out_channels=10)] = good.entries[linear]
    write_table(replace(other, entries=entries), folder / "ten.jsonl")
    assert "classes" not in header
    assert chosen() == ("good", "")
    ten = choose_table(replace(GLYPHS, classes=10))
    assert ten and ten.path.stem == "ten" and ten.doubts == ()
    assert choose_table(get_family("imagenet-w1.0")) is None


def test_blocks_of_another_shape_than_any_network_are_no_reason_to_fail(good: Table) -> None:
    strange = Block("pool", (7, 3, 3), 7)
    table = replace(good, entries=good.entries | {strange: Measurement("measured", 0.001, 0.001, 0.001)})
    assert all(d.kind == "implausible" for d in doubts(table))
