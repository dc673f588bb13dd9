"""``hwbench predict``: the latency of subnets by a fitted model, or of an ONNX model by a table of kernels."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench import cli
from hwbench.argument_types import add_shapes

if TYPE_CHECKING:
    from compofa.spaces.layout import Genotypes
    from lut.subnet_model import SubnetModel

ADDED = ("predicted_ms", "low_ms", "high_ms")


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("predict")
    p.add_argument("--model", type=Path, metavar="MODEL", help="what hwbench fit wrote")
    p.add_argument("--subnets", type=Path, metavar="FILE.csv", help="subnets (r, d0.., k00.., e00..)")
    p.add_argument(
        "--out",
        type=Path,
        metavar="FILE.csv",
        help="the same rows with predicted_ms, low_ms and high_ms (default: stdout)",
    )
    p.add_argument(
        "--coverage", type=cli.fraction, default=0.9, help="of the interval from low_ms to high_ms"
    )
    p.add_argument(
        "--json", action="store_true", help="print a summary as JSON; with --subnets it needs --out"
    )
    group = p.add_argument_group("of an ONNX model")
    group.add_argument("--onnx", type=Path, metavar="MODEL.onnx", help="a model that need not have run there")
    group.add_argument(
        "--lut", type=Path, metavar="KERNELS.jsonl", help="table of kernels (default: the shipped one)"
    )
    group.add_argument(
        "--force", action="store_true", help="take a table of another version of the runtime, too"
    )
    add_shapes(group)
    p.excludes("--onnx", "--model", "--subnets", "--out")
    p.enables("--onnx", "--lut", "--force", "--batch", "--input")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace, clock: Callable[[], float] = time.monotonic) -> int:
    """Load, predict, write."""
    from lut.subnet_model import SubnetModel
    from lut.subnets_csv import read_subnets, write_csv, write_rows

    if args.onnx:
        return _predict_onnx(args)
    if not (args.model and args.subnets):
        raise cli.UsageError("give --model and --subnets, or --onnx (see --help)")
    if args.json and not args.out:
        raise cli.UsageError("--json prints a summary where the rows would go: give --out FILE.csv")
    if args.out:
        cli.check_writable(args.out)
    start = clock()
    model = SubnetModel.load(args.model)
    loaded = clock()
    file = read_subnets(args.subnets, model.family)
    if there := [name for name in ADDED if name in file.header]:
        raise InputError(f"{args.subnets} has a column {there[0]} already: delete or rename it")
    read = clock()
    prediction = model.interval(file.genotypes, args.coverage)
    predicted = clock()
    _notes(model, file.genotypes)
    added = dict(zip(ADDED, prediction, strict=True))
    if not args.out:
        write_rows(sys.stdout, file.header, file.cells, added)
        return cli.OK
    write_csv(args.out, file.header, file.cells, added)
    summary = {
        "out": str(args.out),
        "family": model.family.name,
        "column": model.column,
        "target": model.about.get("target"),
        "origin": "predicted",
        "weights": model.predictor.weights,
        "fitted_on": len(model.genotypes),
        "coverage": args.coverage,
        "subnets": len(file.genotypes),
        "seconds_loading": round(loaded - start, 3),
        "seconds_reading": round(read - loaded, 3),
        "seconds_predicting": round(predicted - read, 3),
        "seconds": round(clock() - start, 3),
    }
    if args.json:
        cli.emit_json(summary)
    else:
        cli.note(f"{summary['subnets']:,} subnets in {summary['seconds']} s: {args.out}")
    return cli.OK


def _predict_onnx(args: argparse.Namespace) -> int:
    from backends.kernels.files import read_model
    from hwbench import shipped
    from hwbench.profiling.predicting import predict_model, print_predicted, to_dict

    model = read_model(args.onnx, dict(args.input), args.batch)
    found = predict_model(model, args.lut or shipped.kernels(), args.coverage, args.force)
    if args.json:
        cli.emit_json(to_dict(found, args.coverage))
    else:
        print_predicted(found, args.coverage)
    return cli.OK


def _notes(model: SubnetModel, genotypes: Genotypes) -> None:
    weights = " + ".join(f"{weight:.1f} {name}" for name, weight in model.predictor.weights.items())
    target = f" on {model.about['target']}" if model.about.get("target") else ""
    cli.note(
        f"{model.column} of {model.family.name}{target}, predicted by {weights}, fitted on "
        f"{len(model.genotypes)} measured subnets"
    )
    if model.about.get("chosen_anew"):
        cli.note(
            "another version of hwbench wrote the model: it was chosen and fitted anew; fit writes it again"
        )
    if new := model.unseen_resolutions(genotypes):
        cli.warn(
            f"nothing was measured at {', '.join(map(str, new))} px: the intervals promise nothing there"
        )


if __name__ == "__main__":
    sys.exit(main())
