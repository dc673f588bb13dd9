"""Accuracies of subnets learned from measured ones: the work of ``hwbench fit --accuracy``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compofa.accuracy.fitting import fit_predictor, prepare
from compofa.accuracy.learning_curve import LearningCurve, learning_curve
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.errors import InputError
from hwbench import cli
from hwbench.measured_accuracies import MeasuredAccuracies


@dataclass(frozen=True)
class FittedAccuracy:
    """A predictor and how it came to be as good as it is.

    Args:
        predictor: fitted to all subnets.
        curve: its error by the number of subnets.
    """

    predictor: AccuracyPredictor
    curve: LearningCurve


def fit_accuracy(measured: MeasuredAccuracies, seed: int = 0) -> FittedAccuracy:
    """Fit a predictor to measured accuracies, score it on subnets that it had not seen, and draw its learning curve.

    Args:
        measured: the accuracies.
        seed: of the folds and of what is drawn.

    Raises:
        InputError: they are too few; names the file.
    """
    rows = (measured.family, measured.genotypes, measured.accuracy)
    try:
        predictor = fit_predictor(*rows, seed, origin=measured.origin, standard_error=measured.standard_error)
    except InputError as error:
        raise InputError(f"{measured.path}: {error}") from error
    data = prepare(*rows, measured.standard_error)
    return FittedAccuracy(predictor, learning_curve(data, predictor.report["model"], seed))


def describe(fitted: FittedAccuracy, wanted_points: float | None = None) -> dict[str, Any]:
    """What was fitted, JSON-ready; errors in points, that is, hundredths.

    Args:
        fitted: the fit.
        wanted_points: error that is wanted, of which the fewest subnets are told.
    """
    predictor, curve = fitted.predictor, fitted.curve
    report = predictor.report
    found: dict[str, Any] = {
        "family": predictor.family.name,
        "origin": "predicted",
        "accuracy_of": predictor.origin.to_dict(),
        "model": report["model"],
        "subnets": report["subnets"],
        "resolutions": list(predictor.resolutions),
        "held_out_by": report["held_out_by"],
        "mae_points": 100 * report["held_out"]["mae"],
        "spearman": report["held_out"]["spearman"],
        "candidates_mae_points": {name: 100 * mae for name, mae in report["cross_validated_mae"].items()},
        "interval_90_pct_holds": report["intervals"]["coverage_90_pct"],
        "interval_90_pct_half_width_points": 100 * report["intervals"]["half_width_90"],
        "learning_curve": [
            {"subnets": point.subnets, "mae_points": 100 * point.mae, "spearman": point.spearman}
            for point in curve.points
        ],
        "floor_points": 100 * curve.law[0],
    }
    if wanted_points is not None:
        fewest = curve.fewest(wanted_points / 100)
        found["wanted_error_points"] = wanted_points
        found["fewest_subnets"] = fewest
        found["fewest_is_extrapolated"] = fewest is not None and curve.is_extrapolated(fewest)
    return found


def print_fitted(document: dict[str, Any]) -> None:
    """Tell people what :func:`describe` says."""
    cli.print_table(
        f"{document['family']}: accuracy of subnets that were not fitted, by the number of those that were",
        ("subnets", "mean error (points)", "Spearman"),
        [
            (f"{point['subnets']:,}", f"{point['mae_points']:.3f}", f"{point['spearman']:.4f}")
            for point in document["learning_curve"]
        ],
    )
    others = ", ".join(f"{name} {mae:.3f}" for name, mae in document["candidates_mae_points"].items())
    sides = ", ".join(map(str, document["resolutions"]))
    print(f"fitted    to {document['subnets']:,} measured subnets at {sides} px")
    print(
        f"error     {document['mae_points']:.3f} points, Spearman {document['spearman']:.4f}, on unseen subnets"
    )
    print(f"          ({document['held_out_by']})")
    print(f"model     {document['model']}; mean errors in points: {others}")
    print(
        f"interval  nominal 90 % holds {document['interval_90_pct_holds']:.1f} % of unseen subnets; "
        f"+-{document['interval_90_pct_half_width_points']:.2f} points in the mean"
    )
    if "wanted_error_points" in document:
        print(f"wanted    {_fewest(document)}")


def _fewest(document: dict[str, Any]) -> str:
    wanted, fewest = document["wanted_error_points"], document["fewest_subnets"]
    if fewest is None:
        return (
            f"{wanted:g} points are not reached: the curve flattens out at about {document['floor_points']:.3f} "
            "points, or more than ten times these subnets are needed"
        )
    how = "extrapolated" if document["fewest_is_extrapolated"] else "by the curve above"
    return f"{wanted:g} points take about {fewest:,} measured subnets ({how})"
