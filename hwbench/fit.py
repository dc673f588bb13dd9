"""``hwbench fit``: learn the latency, or the accuracy, of subnets from measurements of some of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    from compofa.spaces.family import Family
    from compofa.spaces.layout import Genotypes
    from lut.predictors.auto import AutoPredictor
    from lut.predictors.base import Floats
    from lut.subnet_model import SubnetModel

COVERAGE = 0.9
"""Of the intervals that are reported."""
ODD = 100
"""Times a generic device, from which on a file is suspected of other units than milliseconds."""


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
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Read, fit, score, save."""
    from compofa.spaces.registry import get_family
    from lut.predictors import ESTIMATORS
    from lut.predictors.auto import AutoPredictor, check_model
    from lut.subnet_model import SubnetModel

    family = get_family(args.family)
    if args.accuracy:
        return execute_accuracy(args, family)
    if args.column is None or args.wanted_error:
        raise InputError("--measured needs --column NAME, and has no --wanted-error, which is of accuracies")
    if args.model != "auto":
        check_model(args.model)
    cli.check_writable(args.out)
    genotypes, measured_ms, target = read_measured(args.measured, family, args.column)
    chosen, rest = split(len(genotypes), args.samples, args.seed)
    models = tuple(ESTIMATORS) if args.model == "auto" else (args.model,)
    predictor = AutoPredictor(models, args.seed, cli.note)
    model = SubnetModel.fit(family, args.column, genotypes[chosen], measured_ms[chosen], predictor)
    model.about.update(
        measured=args.measured.name,
        target=target,
        rows=len(genotypes),
        cross_validated=assess_unseen(model),
        held_out=assess(model, genotypes[rest], measured_ms[rest]) if len(rest) > 1 else None,
    )
    model.save(args.out)
    document = {
        "model": str(args.out),
        "family": family.name,
        "column": args.column,
        "origin": "predicted",
        "samples": len(chosen),
        "seed": args.seed,
        "weights": predictor.weights,
        "candidates": predictor.candidates,
        **model.about,
    }
    if args.json:
        cli.emit_json(document)
    else:
        _print(document, predictor)
    return cli.OK


def execute_accuracy(args: argparse.Namespace, family: Family) -> int:
    """The same for accuracies, by :mod:`hwbench.fitting.accuracy`."""
    from hwbench.fitting.accuracy import describe, fit_accuracy, print_fitted
    from hwbench.measured_accuracies import COLUMN, load_measured

    if args.samples or args.model != "auto":
        raise InputError(
            "--samples and --model are of latencies: accuracies are cross-validated, by all models"
        )
    cli.check_writable(args.out)
    fitted = fit_accuracy(load_measured(args.accuracy, family, args.column or COLUMN), args.seed)
    fitted.predictor.save(args.out)
    document = {"predictor": str(args.out), **describe(fitted, args.wanted_error)}
    if args.json:
        cli.emit_json(document)
    else:
        print_fitted(document)
        print(f"predictor {args.out}")
    return cli.OK


# --- what is learned from ---


def read_measured(path: Path, family: Family, column: str) -> tuple[Genotypes, Floats, str | None]:
    """The measured subnets, distinct, their latencies in ms, and the target if the file tells it; says what looks
    odd.

    Raises:
        ValueError: the file is no such file; names the line.
    """
    from lut.subnet_model import merge_repeats
    from lut.subnets_csv import read_subnets

    file = read_subnets(path, family)
    measured_ms = file.latencies(column)
    genotypes, merged_ms, spread_pct = merge_repeats(file.genotypes, measured_ms)
    if spread_pct is not None:
        cli.note(
            f"{len(file.genotypes) - len(genotypes)} rows repeat a subnet of another row (slots past a unit's depth "
            f"do not count): their median is taken; repeats differ from it by {spread_pct:.2f} % in the mean"
        )
    if warning := odd_units(family, genotypes, merged_ms):
        cli.warn(f"{column}: {warning}")
    return genotypes, merged_ms, file.target


def odd_units(family: Family, genotypes: Genotypes, measured_ms: Floats) -> str | None:
    """A warning if the latencies are orders of magnitude away from what launches, work and bytes cost on a
    generic device; None if they are not."""
    import numpy as np

    from lut.predictors.subnets import subnet_rows

    times = float(np.median(measured_ms / subnet_rows(family, genotypes).prior))
    if 1 / ODD <= times <= ODD:
        return None
    unit = "microseconds" if times > 1 else "seconds"
    return (
        f"the latencies are {max(times, 1 / times):,.0f} times {'above' if times > 1 else 'below'} those of a generic "
        f"device: are they {unit}? hwbench takes them for milliseconds"
    )


def split(count: int, samples: int | None, seed: int) -> tuple[Any, Any]:
    """Indices of the rows to fit on, random unless all are, and of the others.

    Raises:
        ValueError: there are not so many rows.
    """
    import numpy as np

    if samples is None:
        return np.arange(count), np.arange(0)
    if samples > count:
        raise InputError(f"--samples {samples}, but only {count} distinct subnets were measured")
    order = np.random.default_rng(seed).permutation(count)
    return order[:samples], order[samples:]


# --- how good it is ---


def assess_unseen(model: SubnetModel) -> dict[str, Any]:
    """Scores of the cross-validated predictions, and how many of the rows the intervals hold that were made
    without them."""
    from lut.predictors.conformal import checked_coverage
    from lut.predictors.subnets import subnet_rows
    from lut.scores import scores

    unseen_ms = model.predictor.unseen_ms
    rows = subnet_rows(model.family, model.genotypes)
    coverage = checked_coverage(rows, model.latency_ms, unseen_ms, COVERAGE, model.predictor.seed)
    return {**scores(model.latency_ms, unseen_ms), "coverage_pct": coverage}


def assess(model: SubnetModel, genotypes: Genotypes, measured_ms: Floats) -> dict[str, Any]:
    """Scores on subnets that were not used, the coverage of the intervals and their mean relative width."""
    import numpy as np

    from lut.scores import scores

    predicted, low, high = model.interval(genotypes, COVERAGE)
    return {
        "subnets": len(genotypes),
        **scores(measured_ms, predicted),
        "coverage_pct": float(100 * np.mean((low <= measured_ms) & (measured_ms <= high))),
        "mean_width_pct": float(100 * np.mean((high - low) / predicted)),
    }


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
