"""``hwbench tables``: convert, show, fill, merge and compare lookup tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli
from hwbench.table_views import describe, describe_change, print_comparison, print_description

if TYPE_CHECKING:
    from lut.table import Table

FORMATS = "a .jsonl, .csv or .parquet file, or a folder of OFA's files"


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("tables")
    actions = p.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, execute: Any, text: str, inputs: str, **options: Any) -> argparse.ArgumentParser:
        title = f"{text[0].upper()}{text[1:]}."
        sub = actions.add_parser(name, help=text, description=title, formatter_class=p.formatter_class)
        sub.set_defaults(execute=execute)
        sub.add_argument(inputs, type=Path, **options)
        sub.add_argument("--family", type=cli.family, help="whose blocks the tables must hold (default: any)")
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        return sub

    p1 = action(
        "convert",
        convert,
        "write a table in another format",
        "table",
        help=f"{FORMATS}, or one of them (.yaml, .json)",
    )
    _add_out(p1)
    p2 = action("show", show, "say what a table holds", "table", help="in any format")
    p2.add_argument(
        "--top", type=cli.positive_int, default=5, metavar="N", help="slowest, failed and odd blocks to list"
    )
    p3 = action("fill", fill, "predict the blocks that a table lacks", "table", help="in any format")
    p3.add_argument("--space", default="ofa", help="whose blocks are wanted")
    p3.add_argument(
        "--resolutions", type=cli.resolutions, help="128,160 or 128:224:32 (default: the family's)"
    )
    p3.add_argument("--seed", type=cli.seed, default=0, help="of the cross-validation")
    _add_out(p3)
    p4 = action("merge", merge, "put tables of one target together", "table", nargs="+", help="in any format")
    p4.add_argument(
        "--on-conflict",
        choices=("refuse", "first", "quieter"),
        default="refuse",
        help="a block that two tables measured: refuse, take the first table's, or the one of narrower interval",
    )
    _add_out(p4)
    p5 = action("diff", diff, "compare two tables block by block", "old", help="in any format")
    p5.add_argument("new", type=Path, help="in any format")
    p5.add_argument("--top", type=cli.positive_int, default=5, metavar="N", help="largest changes to list")
    p5.add_argument(
        "--fail-over",
        type=_percent,
        metavar="PCT",
        help="exit with 1 if the median latency, over all blocks or at one resolution, changed by more",
    )
    return p


def _add_out(p: argparse.ArgumentParser) -> None:
    p.add_argument("--out", type=Path, required=True, metavar="PATH", help=FORMATS)
    p.add_argument("--force", action="store_true", help="replace what is there")


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage, such as 5")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), lambda args: args.execute(args), argv)


# --- the actions ---


def convert(args: argparse.Namespace) -> int:
    """Write a table in the format that the suffix of ``--out`` says."""
    _check_out(args)
    return _write(args, _read_and_look(args.table, args.family), {})


def fill(args: argparse.Namespace) -> int:
    """Predict what a table lacks; what it has stays as it is."""
    from compofa.spaces.space import get_space
    from lut import gaps

    _check_out(args)
    table = _read_and_look(args.table, args.family)
    wanted = get_space(args.space, table.family_as_built).all_blocks(args.resolutions)
    filled, filling = gaps.fill(table, wanted, args.seed)
    errors = filling.predictor.cv_mape_pct
    document = {
        "predicted": len(filling.entries),
        "from": filling.known,
        "model": filling.predictor.chosen,
        "cv_mape_pct": errors,
    }
    cli.note(
        f"predicted {len(filling.entries)} blocks from {filling.known} by {filling.predictor.chosen} "
        f"(cross-validated error of a block {errors[filling.predictor.chosen]:.1f} %)"
    )
    return _write(args, filled, document)


def merge(args: argparse.Namespace) -> int:
    """Put tables together."""
    from lut.merge import merge as merge_tables

    _check_out(args)
    tables = [_read_and_look(path, args.family) for path in args.table]
    created = datetime.now(UTC).isoformat(timespec="milliseconds")
    merged = merge_tables(tables, list(map(str, args.table)), created, args.on_conflict)
    return _write(args, merged, {"merged": list(map(str, args.table))})


def show(args: argparse.Namespace) -> int:
    """Tell what a table holds."""
    table = _read(args.table, args.family)
    document = describe(table, args.top)
    if args.json:
        cli.emit_json({"table": str(args.table), **document})
    else:
        print_description(str(args.table), table, document, args.top)
    return cli.OK


def diff(args: argparse.Namespace) -> int:
    """Compare two tables."""
    from lut.compare import Comparison
    from lut.header import target_differences

    comparison = Comparison(_read(args.old, args.family), _read(args.new, args.family))
    failed = args.fail_over is not None and comparison.worst_pct > args.fail_over
    document = {
        "old": str(args.old),
        "new": str(args.new),
        "target_differences": target_differences(comparison.old.target, comparison.new.target),
        "only_old": comparison.only_old,
        "only_new": comparison.only_new,
        "all": asdict(comparison.spread),
        "by_resolution": {str(r): asdict(spread) for r, spread in comparison.by_resolution.items()},
        "largest": [describe_change(change) for change in comparison.largest(args.top)],
        "worst_pct": comparison.worst_pct,
        "fail_over_pct": args.fail_over,
        "failed": failed,
    }
    if args.json:
        cli.emit_json(document)
    else:
        print_comparison(comparison, document)
    if failed:
        cli.note(
            f"the median latency changed by {comparison.worst_pct:.1f} %, more than {args.fail_over:g} %"
        )
    return cli.FAILED if failed else cli.OK


# --- reading and writing ---


def _read(path: Path, family: str | None) -> Table:
    from compofa.spaces.registry import get_family
    from lut.formats import read_table

    return read_table(path, get_family(family).name if family else None)


def _read_and_look(path: Path, family: str | None) -> Table:
    """The table, with a warning of what does not look right: whoever takes it over will not look again."""
    from lut.trust import doubts

    table = _read(path, family)
    for doubt in doubts(table):
        if doubt.kind in ("implausible", "noisy"):
            cli.warn(f"{path}: {doubt.text}")
    return table


def _check_out(args: argparse.Namespace) -> None:
    """Refuse to replace anything unasked, and what cannot be written, before any work."""
    out: Path = args.out
    taken = any(out.iterdir()) if out.is_dir() else out.exists()
    if taken and not args.force:
        raise InputError(f"{out} is there already: choose another, or say --force to replace it")
    if not out.is_dir():
        cli.check_writable(out)


def _write(args: argparse.Namespace, table: Table, document: dict[str, Any]) -> int:
    from lut.formats import write_table
    from lut.table import in_words

    files = list(map(str, write_table(table, args.out)))
    failed = len(table.failures)
    if args.json:
        counts = {"entries": len(table.entries), "origins": table.origins, "failures": failed}
        cli.emit_json({"written": files, **counts, **document})
    else:
        cannot = f"; {failed} blocks that cannot run" if failed else ""
        print(f"{', '.join(files)}: {len(table.entries)} entries, {in_words(table.origins)}{cannot}")
    if failed and args.out.is_dir():
        cli.warn(f"OFA's layout has no place for the {failed} blocks that cannot run: they were left out")
    return cli.OK


if __name__ == "__main__":
    sys.exit(main())
