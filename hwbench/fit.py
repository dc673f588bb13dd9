"""``hwbench fit``: learn the latency, or the accuracy, of subnets from measurements of some of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli
from hwbench.fitting import COVERAGE

if TYPE_CHECKING:
    from lut.predictors.auto import AutoPredictor


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("fit")
    learned = p.add_mutually_exclusive_group(required=True)
    learned.add_argument(
        "--measured",
        type=Path,
        metavar="FILE.csv",
        help="subnets (r, d0.., k00.., e00..) and their latencies in ms",
    )
    learned.add_argument(
        "--accuracy",
        type=Path,
        metavar="FILE",
        help="subnets and their accuracies: what evaluate wrote, or a CSV",
    )
    p.add_argument(
        "--column", metavar="NAME", help="the latencies, or accuracies (default: accuracy), to learn"
    )
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose subnets they are")
    p.add_argument(
        "--model", default="auto", help="auto, or the one estimator to fit; a wrong name lists them"
    )
    p.add_argument(
        "--samples",
        type=cli.positive_int,
        metavar="N",
        help="latencies: fit on N random rows and score on the others (default: fit on all)",
    )
    p.add_argument(
        "--wanted-error",
        type=cli.positive_number,
        metavar="POINTS",
        help="accuracies: say how many measured subnets so small a mean error takes",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the rows, the folds and the estimators")
    p.add_argument("--out", type=Path, required=True, metavar="MODEL", help="the file to write")
    p.add_argument("--json", action="store_true", help="print the scores as JSON")
    p.excludes("--measured", "--wanted-error")
    p.excludes("--accuracy", "--model", "--samples")  # accuracies are cross-validated, by all models
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Read, fit, score, save."""
    if args.accuracy:
        return execute_accuracy(args)
    if args.column is None:
        raise InputError("--measured needs --column NAME: of the latencies")
    cli.check_writable(args.out)
    from hwbench.fitting.latency import fit

    model = fit(
        args.measured,
        args.column,
        family=args.family,
        model=args.model,
        samples=args.samples,
        seed=args.seed,
        out=args.out,
    )
    document = {
        "model": str(args.out),
        "family": model.family.name,
        "column": args.column,
        "origin": "predicted",
        "samples": len(model.genotypes),
        "seed": args.seed,
        "weights": model.predictor.weights,
        "candidates": model.predictor.candidates,
        **model.about,
    }
    if args.json:
        cli.emit_json(document)
    else:
        _print(document, model.predictor)
    return cli.OK


def execute_accuracy(args: argparse.Namespace) -> int:
    """The same for accuracies, by :mod:`hwbench.fitting.accuracy`."""
    from compofa.spaces.registry import get_family
    from hwbench.fitting.accuracy import describe, fit_accuracy, print_fitted
    from hwbench.measured_accuracies import COLUMN, load_measured

    cli.check_writable(args.out)
    fitted = fit_accuracy(
        load_measured(args.accuracy, get_family(args.family), args.column or COLUMN), args.seed
    )
    fitted.predictor.save(args.out)
    document = {"predictor": str(args.out), **describe(fitted, args.wanted_error)}
    if args.json:
        cli.emit_json(document)
    else:
        print_fitted(document)
        print(f"predictor {args.out}")
    return cli.OK


# --- reporting ---


def why(weights: dict[str, float]) -> str:
    """The choice in words."""
    if len(weights) == 1:
        return f"{next(iter(weights))}: no other, and no mean of several, has a clearly smaller error"
    parts = " + ".join(f"{weight:.1f} {name}" for name, weight in weights.items())
    return f"{parts}: their mean has a clearly smaller error than the best of them"


def _row(name: str, scores: dict[str, Any]) -> tuple[str, ...]:
    errors = (f"{scores[key]:.2f} %" for key in ("mape_pct", "within_5_pct", "within_10_pct"))
    spearman = scores["spearman"]
    return name, *errors, "-" if spearman is None else f"{spearman:.3f}"


def _print(document: dict[str, Any], predictor: AutoPredictor) -> None:
    rows = [_row(name, found) for name, found in predictor.candidates.items() if isinstance(found, dict)]
    if len(predictor.weights) > 1:
        rows.append(_row("chosen mean", document["cross_validated"]))
    if document["held_out"]:
        rows.append(_row(f"chosen, on {document['held_out']['subnets']:,} other rows", document["held_out"]))
    cli.print_table(
        f"{document['column']}: predicted against measured, cross-validated on {document['samples']} subnets "
        f"of {document['family']}",
        ("model", "MAPE", "within 5 %", "within 10 %", "Spearman"),
        rows,
    )
    for name, found in predictor.candidates.items():
        if not isinstance(found, dict):
            print(f"left out  {name}: {found}")
    print(f"chosen    {why(predictor.weights) if len(predictor.models) > 1 else predictor.models[0]}")
    print(f"interval  nominal {100 * COVERAGE:.0f} % holds {_coverage(document)}")
    print(f"target    {document['target'] or 'the file does not tell'}")
    print(f"model     {document['model']}")


def _coverage(document: dict[str, Any]) -> str:
    text = f"{document['cross_validated']['coverage_pct']:.1f} % (cross-validated)"
    if held_out := document["held_out"]:
        text += f", {held_out['coverage_pct']:.1f} % of the other rows; mean width {held_out['mean_width_pct']:.1f} %"
    return text


if __name__ == "__main__":
    sys.exit(main())
