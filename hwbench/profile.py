"""``hwbench profile``: where an ONNX model's time goes on this machine."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli
from hwbench.argument_types import add_shapes

if TYPE_CHECKING:
    from backends.kernels.files import ModelFile
    from backends.onnxruntime_int8 import Feeds
    from hwbench.profiling.measuring import Profiler
    from hwbench.profiling.profiles import Profile
    from lut.kernels.table import KernelTable

PRECISIONS = ("fp32", "int8", "fp16")
"""``fp32`` is the model as it is."""


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser(
        "profile",
        epilog="The kernels are added to a table (--lut), from which predict --onnx tells the latency of models that "
        "were never run there.",
    )
    p.add_argument("model", type=Path, metavar="MODEL.onnx", help="the model; weights may be random")
    p.add_argument(
        "--backend", default="onnxruntime", metavar="NAME", help="whose kernels: onnxruntime or openvino"
    )
    p.add_argument("--threads", type=cli.positive_int, default=1, help="of one run")
    add_shapes(p)
    p.add_argument(
        "--precision",
        action="append",
        choices=PRECISIONS,
        help="also as this; given again for more (default: fp32, the model as it is)",
    )
    p.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE.npz",
        help="inputs for int8's ranges of activations, by name, N of each: tells how far int8 is off on them, too "
        "(default: random ones, which tell the time only)",
    )
    p.add_argument(
        "--lut",
        type=Path,
        metavar="FILE.jsonl",
        help="table of kernels to add to (default: one in ~/.cache/hwbench/tables)",
    )
    p.add_argument("--no-lut", action="store_true", help="add to no table")
    p.excludes("--no-lut", "--lut")
    p.add_argument(
        "--against",
        type=Path,
        metavar="FILE.jsonl",
        help="another table of kernels: compare kernel by kernel",
    )
    p.add_argument("--csv", type=Path, metavar="FILE.csv", help="write a row for each kernel")
    p.add_argument("--out", type=Path, metavar="PICTURE", help="draw the roofline: .png, .svg or .pdf")
    p.add_argument("--seed", type=cli.seed, default=0, help="of the input and the order of timing")
    p.add_argument("--json", action="store_true", help="print all of it as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Profile, print, draw, and add to the table."""
    from backends.kernels.files import read_model
    from hwbench.profiling.given_data import read_feeds
    from hwbench.profiling.measuring import Profiler
    from hwbench.profiling.run import check_precision
    from hwbench.profiling.tables import ProfileTable
    from lut.kernels import table

    for path, suffixes in ((args.csv, ()), (args.out, cli.PICTURE_SUFFIXES), (args.lut, ())):
        if path:
            cli.check_writable(path, suffixes)
    if args.calibration and "int8" not in (args.precision or ()):
        raise InputError("--calibration is for --precision int8, which is not given")
    precisions = dict.fromkeys(["fp32", *(args.precision or ())])
    for precision in precisions:
        check_precision(precision, args.backend)
    model = read_model(args.model, dict(args.input), args.batch)
    feeds = read_feeds(args.calibration, model) if args.calibration else []
    against = table.load(args.against) if args.against else None
    profiler = Profiler(args.threads, args.seed, cli.progress, cli.note, args.backend)
    with contextlib.ExitStack() as stack:
        lut = None
        if not args.no_lut:
            lut = stack.enter_context(ProfileTable(profiler.backend, args.lut))
        found = [_one(profiler, model, precision, args.seed, feeds) for precision in precisions]
        added = lut.add(found) if lut else 0
    _write(args, found)
    document = _document(found, against, lut.path if lut else None, added)
    if args.json:
        cli.emit_json(document)
    else:
        _print(found, document)
    return cli.OK


def _one(profiler: Profiler, model: ModelFile, precision: str, seed: int, feeds: Sequence[Feeds]) -> Profile:
    from backends.kernels.precision import converted
    from hwbench.profiling.given_data import agreement

    changed = converted(model, precision, seed, feeds)
    found = profiler.profile(changed, precision)
    if precision != "int8" or not feeds:
        return found
    return replace(found, notes=(*found.notes, agreement(model, changed, feeds)))


def _write(args: argparse.Namespace, found: Sequence[Profile]) -> None:
    from compofa.files import write_atomically
    from hwbench.profiling.picture import draw_profile
    from hwbench.profiling.reports import to_csv

    if args.csv:
        write_atomically(args.csv, to_csv(found))
    if args.out:
        draw_profile(args.out, found[0])


def _document(
    found: Sequence[Profile], against: KernelTable | None, lut: Path | None, added: int
) -> dict[str, Any]:
    """What ``--json`` prints."""
    from hwbench.profiling.reports import to_dict
    from lut.kernels.compare import compare

    first, *others = found
    document = to_dict(first)
    if others:
        document["precisions"] = {other.precision: to_dict(other) for other in others}
    if against:
        other = against.target.backend != first.target.backend
        document["against"] = compare(first.kernels, first.counts, against, first.model, by_work=other)
    return document | {"lut": lut and str(lut), "kernels_added": added}


def _print(found: Sequence[Profile], document: Mapping[str, Any]) -> None:
    from hwbench.profiling.reports import print_against, print_precisions, print_profile

    for one in found:
        print_profile(one)
    if len(found) > 1:
        print_precisions(found)
    if "against" in document:
        print_against(document["against"])
    if document["lut"]:
        print(f"table        {document['lut']}, {document['kernels_added']} kernels added")


if __name__ == "__main__":
    sys.exit(main())
