"""``hwbench validate``: compare a table's sums with whole networks, and calibrate them.

The networks are measured now, or, for a table of a device that is elsewhere, come from a file (``--measured``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwbench import cli


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("validate")
    p.add_argument("--lut", type=Path, metavar="FILE", help="the table (default: the best of --family here)")
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose best table, without --lut")
    p.excludes("--lut", "--family")
    p.add_argument("--space", help="whose subnets (default: the widest that the table covers)")
    p.add_argument(
        "--subnets", type=cli.positive_int, default=40, metavar="N", help="random subnets to measure"
    )
    p.add_argument(
        "--measured",
        type=Path,
        metavar="FILE",
        help="a CSV of subnets that were measured on the table's device, in place of measuring here",
    )
    p.add_argument(
        "--column",
        metavar="NAME",
        help="of the latencies in milliseconds in --measured (default: measured_ms)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the subnets and their order")
    p.add_argument(
        "--out",
        type=Path,
        metavar="PICTURE",
        help="png, svg or pdf (default: beside the table, .validate.png)",
    )
    p.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="write the subnets and their latencies, for hwbench fit --column measured_ms",
    )
    p.add_argument(
        "--option",
        type=cli.name_and_value,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the table's backend, besides those that its target tells; may be repeated",
    )
    p.add_argument(
        "--force-calibration",
        action="store_true",
        help="keep the calibration though it is not to be trusted, or rests on fewer subnets than the one there",
    )
    p.add_argument("--force-target", action="store_true", help="go on though this is not the table's target")
    p.add_argument("--json", action="store_true", help="print the scores as JSON")
    p.excludes("--measured", "--space", "--subnets", "--seed", "--option", "--force-target")
    p.enables("--measured", "--column")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Measure, score, store the calibration and draw."""
    from hwbench.validating.run import attempt, default_table, validate, write_measured
    from lut.calibration import calibration_path

    lut = args.lut or default_table(args.family)
    if not lut.exists():
        raise FileNotFoundError(2, "No such file or directory", str(lut))
    picture = args.out or lut.with_name(lut.name.removesuffix(".jsonl") + ".validate.png")
    cli.check_writable(picture, cli.PICTURE_SUFFIXES)
    cli.check_writable(calibration_path(lut))
    if args.csv:
        cli.check_writable(args.csv)
    found = validate(
        lut,
        space=args.space,
        subnets=args.subnets,
        measured=args.measured,
        column=args.column or "measured_ms",
        options=dict(args.option),
        force_calibration=args.force_calibration,
        force_target=args.force_target,
        seed=args.seed,
    )
    # First what took long to measure; a full disk that refuses one file must not cost the others.
    failed = list(found.failed)
    document = {"picture": str(picture), **found.to_dict()}
    if args.csv:
        attempt(failed, lambda: write_measured(args.csv, found), args.csv)
    attempt(failed, lambda: found.draw(picture), picture)
    if args.json:
        cli.emit_json(document)
    else:
        _print(document, str(found.table.target))
    for line in failed:
        cli.note(line)
    return cli.FAILED if failed else cli.OK


def _print(document: dict[str, Any], target: str) -> None:
    rows = [
        (
            name,
            *(f"{document[key][score]:.1f} %" for score in ("mape_pct", "within_5_pct", "within_10_pct")),
            "-" if document[key]["spearman"] is None else f"{document[key]['spearman']:.3f}",
        )
        for key, name in (("raw", "raw sum"), ("calibrated", "calibrated, leave-one-out"))
    ]
    cli.print_table(
        f"{document['n']} subnets of {document['family']}: predicted against {document['origin']}",
        ("model", "MAPE", "within 5 %", "within 10 %", "Spearman"),
        rows,
    )
    terms = ", ".join(f"{name} {value:.4g}" for name, value in document["model"].items())
    if document["noise_pct"] is not None:
        print(
            f"repeatability {document['repeatability_pct']:.1f} % (second measurement against the first"
            f"{_drift(document['drift_pct'], document['repeatability_pct'])}); so true latencies "
            f"would score {document['noise_pct']:.1f} %, and the {document['limit']} is the limit"
        )
    print(f"a network     lies within {document['within_95_pct']:.1f} % of its prediction, 95 times of 100")
    if document["distrust"]:
        print(f"not trusted   {document['distrust']}")
    if document["origin"] == "modelled":
        print("              nothing was measured: this says how far sums of blocks are from the whole model")
    print(f"model         {terms}")
    print(f"target        {target}")
    if len(document["blocks"]) > 1:
        print("blocks        " + ", ".join(f"{n} {origin}" for origin, n in document["blocks"].items()))
    print(f"calibration   {document['calibration'] or 'not kept'}")
    print(f"picture       {document['picture']}")


def _drift(drift_pct: float, repeatability_pct: float) -> str:
    """What to say where a good part of the difference is one factor for all."""
    if abs(drift_pct) < repeatability_pct / 2:
        return ""
    return f", all {abs(drift_pct):.1f} % {'slower' if drift_pct > 0 else 'faster'}"


if __name__ == "__main__":
    sys.exit(main())
