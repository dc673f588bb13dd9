"""``hwbench check``: the gate that turns a build red when a latency model got worse, and only then."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hwbench import cli
from hwbench.gating.findings import CODES, FAIL, MEANINGS

if TYPE_CHECKING:
    from hwbench.gating.baseline import Baseline
    from hwbench.gating.checks import State
    from hwbench.gating.findings import Finding

BASELINE = "baseline.json"


def parser() -> cli.Parser:
    """The command's arguments."""
    codes = "; ".join(f"{code} {name}: {MEANINGS[name]}" for name, code in CODES.items())
    p = cli.command_parser("check", epilog=f"exit codes: 0 all passed; {codes}; of several the largest.")
    p.add_argument("--golden", type=Path, required=True, metavar="DIR", help="the golden sets")
    p.add_argument(
        "--baseline", type=Path, metavar="FILE", help="what to compare with (default: baseline.json in DIR)"
    )
    p.add_argument(
        "--measured",
        type=Path,
        metavar="FILE",
        help="fresh measurements to check as well: what validate left beside a copy of a set's table",
    )
    p.add_argument("--junit", type=Path, metavar="FILE", help="write the findings as JUnit XML")
    p.add_argument("--json", action="store_true", help="print the findings as JSON")
    modes = p.add_mutually_exclusive_group()
    modes.add_argument(
        "--update-baseline", action="store_true", help="make what the models say now the baseline"
    )
    modes.add_argument(
        "--freeze",
        type=Path,
        metavar="TABLE",
        help="make a golden set of a table and the calibration that validate left beside it",
    )
    p.add_argument("--name", help="of the set to --freeze (default: the table's file name)")
    p.add_argument("--seed", type=cli.seed, default=0, help="of the split of the set to --freeze")
    p.excludes("--freeze", "--baseline", "--measured", "--junit")
    p.excludes("--update-baseline", "--measured", "--junit")
    p.enables("--freeze", "--name", "--seed")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace, clock: Callable[[], float] = time.monotonic) -> int:
    """Check, or make what is to be checked."""
    if args.junit:
        cli.check_writable(args.junit)
    if args.freeze:
        return freeze(args)
    from hwbench.gating import checks, device

    start = clock()
    path = args.baseline or args.golden / BASELINE
    entries, findings = checks.load_manifest(args.golden)
    states, found = checks.load_states(args.golden, list(entries.values()))
    findings += found
    if args.update_baseline:
        return update(args, path, states, findings)
    baseline, trouble = checks.load_baseline(path)
    if entries:
        findings += trouble or checks.vanished(entries.values(), baseline) + checks.judge(states, baseline)
    if args.measured and states:
        findings += device.findings(args.measured, [state.golden for state in states])
    return report(args, findings, baseline, clock() - start)


# --- judging ---


def report(args: argparse.Namespace, findings: list[Finding], baseline: Baseline, seconds: float) -> int:
    """Say what was found wherever it was asked for."""
    from hwbench.gating import reports
    from hwbench.gating.baseline import environment
    from hwbench.gating.findings import exit_code

    code, present = exit_code(findings), environment()
    if args.junit:
        args.junit.write_bytes(reports.junit(findings, present, seconds))
    reports.append_step_summary(findings)
    changed = {
        name: (baseline.environment.get(name), present.get(name))
        for name in sorted({*present, *baseline.environment})
        if baseline.environment and baseline.environment.get(name) != present.get(name)
    }
    if args.json:
        cli.emit_json(
            {
                "golden": str(args.golden),
                "exit_code": code,
                "seconds": round(seconds, 3),
                "environment": present,
                "environment_changed": {name: list(versions) for name, versions in changed.items()},
                "findings": [finding.to_dict() for finding in findings],
            }
        )
        return code
    cli.print_table(str(args.golden), reports.COLUMNS, reports.summary_rows(findings))
    for name, (old, new) in changed.items():
        print(f"the baseline was made with {name} {old}, this is {new}")
    for line in reports.failures(findings):
        print(line)
    print(f"{reports.headline(findings)}; exit code {code}")
    return code


# --- making ---


def freeze(args: argparse.Namespace) -> int:
    """Make a golden set."""
    from hwbench.gating import freezing

    name = args.name or args.freeze.name.removesuffix(".jsonl")
    entry = freezing.freeze(args.golden, args.freeze, name, args.seed)
    if args.json:
        cli.emit_json({"golden": str(args.golden), "set": name, **entry.to_dict()})
        return cli.OK
    print(f"set            {name} in {args.golden}: {', '.join(entry.files)}")
    print(f"subnets        {entry.about['subnets']}, half to fit on, half to be judged on")
    print(f"repeatability  {entry.about['repeatability_pct']:.1f} %")
    limits = entry.limits
    print(
        f"floor          MAPE at most {limits.mape_pct:g} %, bias {limits.bias_pct:g} %, within 10 % at least "
        f"{limits.within_10_pct:g} %, Spearman {limits.spearman:g}"
    )
    print(f"next           hwbench check --golden {args.golden} --update-baseline")
    return cli.OK


def update(args: argparse.Namespace, path: Path, states: list[State], findings: list[Finding]) -> int:
    """Make what the models say now the baseline, and say what that changes."""
    from hwbench.gating import checks, reports
    from hwbench.gating.findings import exit_code

    cli.check_writable(path)
    if code := exit_code(findings):
        for line in reports.failures(findings):
            cli.note(line)
        cli.note("the baseline stays as it is")
        return code
    old, _ = checks.load_baseline(path)  # empty if there is none that can be read
    changed = [f for f in checks.judge(states, old) if f.verdict == FAIL or "(was" in f.value]
    checks.present(states).save(path)
    if args.json:
        cli.emit_json({"baseline": str(path), "changed": [finding.to_dict() for finding in changed]})
        return cli.OK
    for finding in changed:
        print(f"{finding.check:9} {finding.target:14} {finding.what}: {finding.value}")
    print(f"{path}: {len(changed)} changes" if changed else f"{path}: nothing changed")
    return cli.OK


if __name__ == "__main__":
    sys.exit(main())
