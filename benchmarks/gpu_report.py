"""Build, validate and report tables of a GPU: what ``benchmarks/gpu.sh`` runs.

The peer of the differenced costs is the plain time of each block run alone, from the same rounds: both are
summed, calibrated and held against the same networks. The floor is the networks' own repeatability. Tables stay
in the folder, so that what was interrupted, or cut into several calls by ``--only``, goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TARGETS = {"mape_pct": 2.0, "within_5_pct": 99.0, "spearman": 0.99}
"""Of the calibrated model: at most, at least, at least."""
WAYS = ("cost", "alone_ms", "flushed_ms")
"""Of timing a block: differenced in context, alone, alone with the cache overwritten."""


@dataclass(frozen=True)
class Case:
    """One table: a name, and the arguments of build_lut that say of what."""

    name: str
    arguments: tuple[str, ...]


def cases(device: str, small: bool) -> list[Case]:
    """Of the torch backend in each precision and batch, and, on a GPU, of the other backends."""
    torch = ("--backend", "torch", "--device", device)
    found = [
        Case(f"torch-{precision}-b{batch}", (*torch, "--precision", precision, "--batch", str(batch)))
        for precision in (("fp32",) if small else ("fp32", "fp16"))
        for batch in ((1,) if small else (1, 64))
    ]
    if device == "cuda":
        cuda = ("--backend", "onnxruntime", "--provider", "cuda")
        rtx = ("--backend", "onnxruntime", "--provider", "nv_tensorrt_rtx", "--precision", "fp16")
        tensorrt = ("--backend", "tensorrt", "--precision", "fp16")
        for batch in (1,) if small else (1, 64):
            size = ("--batch", str(batch))
            found += [
                Case(f"onnxruntime-cuda-fp32-b{batch}", (*cuda, *size)),
                Case(f"tensorrt-fp16-b{batch}", (*tensorrt, *size)),
                Case(f"tensorrt-rtx-fp16-b{batch}", (*rtx, *size)),
            ]
    return found


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    p.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="of the torch backend")
    p.add_argument("--small", action="store_true", help="glyphs at 16 px, CompOFA's space, 12 subnets")
    p.add_argument("--only", action="append", default=[], metavar="CASE", help="one case; may be repeated")
    p.add_argument("--subnets", type=int, default=None, help="to validate on (default: 60, small 12)")
    p.add_argument("--folder", type=Path, default=Path("gpu-tables"), help="for the tables")
    p.add_argument("--out", type=Path, default=Path("gpu.json"), help="the report")
    return p


def main() -> None:
    """Run the cases and write the report after each."""
    args = parser().parse_args()
    chosen = [c for c in cases(args.device, args.small) if not args.only or c.name in args.only]
    if not chosen:
        names = ", ".join(case.name for case in cases(args.device, args.small))
        sys.exit(f"gpu_report: no case {', '.join(args.only)}; there are {names}")
    args.folder.mkdir(parents=True, exist_ok=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    report = _begin(args)
    for case in chosen:
        print(f"== {case.name}", file=sys.stderr, flush=True)
        report["cases"][case.name] = run(case, args)
        args.out.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    for name, found in report["cases"].items():
        print(f"{name:24} {_line(found)}")


def _begin(args: argparse.Namespace) -> dict[str, Any]:
    """A new report, with the cases of an earlier one at the same place."""
    earlier = json.loads(args.out.read_text())["cases"] if args.out.exists() else {}
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "targets": TARGETS,
        "cases": earlier,
    }


def run(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    """One table built and validated; or why not."""
    lut = args.folder / f"{case.name}{'-small' if args.small else ''}.jsonl"
    family, space, side = ("glyphs", "compofa", "16") if args.small else ("imagenet-w1.0", "ofa", "224")
    what = ("--family", family, "--space", space, "--resolutions", side)
    code, built = hwbench("build_lut", *case.arguments, *what, "--out", str(lut))
    if "entries" not in built:
        return {"unavailable" if code == 3 else "failed": built["error"]}
    subnets = args.subnets or (12 if args.small else 60)
    code, found = hwbench("validate", "--lut", str(lut), "--space", space, "--subnets", str(subnets))
    if "calibrated" not in found:
        return {"built": built, "failed": found["error"]}
    return {"built": built, "validated": found, "ways": ways(lut), "clocks": clocks(lut)}


def hwbench(command: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """A command's exit code and JSON document, or its error."""
    done = subprocess.run(
        [sys.executable, "-m", f"hwbench.{command}", *arguments, "--json"], capture_output=True, text=True
    )
    print(done.stderr, file=sys.stderr, end="", flush=True)
    try:
        return done.returncode, json.loads(done.stdout)
    except json.JSONDecodeError:
        return done.returncode, {"error": (done.stderr.strip().splitlines() or ["it says nothing"])[-1]}


def ways(lut: Path) -> dict[str, Any]:
    """Scores of the sums of each way of timing blocks, against the same networks."""
    from lut.calibration import Calibration, calibration_path
    from lut.scores import scores
    from lut.table import Table

    table = Table.load(lut)
    kept = Calibration.load(calibration_path(lut), table)
    found = {}
    for way in WAYS:
        if way != "cost" and not all(way in dict(m.details) for m in table.entries.values()):
            continue
        other = Calibration(_timed(table, way), kept.archs, kept.first_ms, kept.second_ms)
        found[way] = {
            "raw": scores(other.measured_ms, other.raw_ms),
            "calibrated": scores(other.measured_ms, other.held_out_ms),
            "terms": dict(other.model.coefficients),
        }
    return found


def _timed(table: Any, way: str) -> Any:
    """The table with another of its figures as each block's latency."""
    if way == "cost":
        return table
    entries = {b: replace(m, latency_ms=float(dict(m.details)[way])) for b, m in table.entries.items()}
    return type(table)(table.header, entries)


def clocks(lut: Path) -> dict[str, Any]:
    """What the device's clocks did while the blocks were timed."""
    from lut.table import Table

    details = [dict(m.details) for m in Table.load(lut).entries.values()]
    speeds = sorted({float(d["sm_clock_mhz"]) for d in details if "sm_clock_mhz" in d})
    return {
        "sm_clock_mhz": [speeds[0], speeds[-1]] if speeds else None,
        "held_back": sorted({str(d["held_back"]) for d in details if "held_back" in d}),
        "blocks_held_back": sum("held_back" in d for d in details),
    }


def met(scores: dict[str, Any]) -> bool:
    """Whether scores meet :data:`TARGETS`."""
    return (
        scores["mape_pct"] <= TARGETS["mape_pct"]
        and scores["within_5_pct"] >= TARGETS["within_5_pct"]
        and (scores["spearman"] or 0.0) >= TARGETS["spearman"]
    )


def _line(found: dict[str, Any]) -> str:
    if "ways" not in found:
        return (
            f"unavailable: {found['unavailable']}" if "unavailable" in found else f"failed: {found['failed']}"
        )
    parts = [
        f"{way.removesuffix('_ms')} {scores['calibrated']['mape_pct']:.2f} % (raw {scores['raw']['mape_pct']:.1f} %)"
        for way, scores in found["ways"].items()
    ]
    floor = found["validated"]["repeatability_pct"]
    verdict = "meets the targets" if met(found["ways"]["cost"]["calibrated"]) else "misses the targets"
    return f"calibrated MAPE: {', '.join(parts)}; repeatability {floor:.2f} %; {verdict}"


if __name__ == "__main__":
    main()
