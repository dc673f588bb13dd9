"""``hwbench doctor``: what this machine can measure with, and what will make its figures noisy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from hwbench import cli


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser(
        "doctor", epilog="exit codes: 0 fit to measure on; 1 not: no backend, or too noisy."
    )
    p.add_argument(
        "--seconds", type=cli.positive_int, default=3, metavar="S", help="of the test of repeatability"
    )
    p.add_argument("--json", action="store_true", help="print the findings as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Look at the machine and say what was found."""
    from hwbench.examining import doctor

    document = doctor(args.seconds).document
    if args.json:
        cli.emit_json(document)
    else:
        _print(document)
    return cli.OK if document["fit"] else cli.FAILED


def _print(document: dict[str, Any]) -> None:
    host, test = document["host"], document["repeatability"]
    print(f"machine   {host['cpu']}, {host['cores']} cores, {host['machine']}; {host['system']}")
    print(f"versions  Python {host['python']}, {', '.join(' '.join(v) for v in host['packages'].items())}")
    for condition in document["conditions"]:
        mark = "!" if condition["advice"] else " "
        print(f"{condition['name']:9} {mark} {condition['value']:24} {condition['advice']}".rstrip())
    print(
        f"{'lone':9}   the same work for {test['seconds']} s: by itself its time spreads by "
        f"{test['lone_spread_pct']:.1f} % and drifts by {test['lone_drift_pct']:.1f} %"
    )
    print(
        f"{'paired':9} {' ' if test['steady'] else '!'} beside a reference, as hwbench measures, it drifts by "
        f"{test['ratio_drift_pct']:.1f} % (limit {test['ratio_limit_pct']:g} %; {test['left_out_pct']:.0f} % "
        "of the runs left out)"
    )
    if test["stolen_ticks"]:
        print(f"{'stolen':9} ! {test['stolen_ticks']} ticks{'':16} the hypervisor ran others meanwhile")
    for name, reason in document["backends"].items():
        print(f"backend   {'!' if reason else ' '} {name:24} {reason or 'can run'}")
    print("fit to measure on" if document["fit"] else "not fit to measure on: see the lines marked !")


if __name__ == "__main__":
    sys.exit(main())
