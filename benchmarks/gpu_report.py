"""Build, validate and report tables of a GPU: what ``benchmarks/gpu.sh`` runs.

A case is one table, and takes less than two minutes. What it found is in the report as soon as it was found, so that
a run that is interrupted, or cut off when the machine goes back, has finished tables; the same command goes on with
what is missing.

The peer of the differenced costs is the plain time of each block run alone, from the same rounds, and, on a GPU, with
the cache overwritten: all are summed, calibrated and held against the same networks. The floor is the networks' own
repeatability.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TARGETS = {"mape_pct": 2.0, "within_5_pct": 99.0, "spearman": 0.99}
"""Of the calibrated model: at most, at least, at least."""
WAYS = ("cost", "alone_ms", "flushed_ms")
"""Of timing a block: differenced in context, alone, alone with the cache overwritten."""
ONE_NETWORK = "tensorrt-rtx-one-network"


@dataclass(frozen=True)
class Scale:
    """Whose blocks are measured, at which side in pixels, and on how many subnets they are validated."""

    family: str
    space: str
    side: int
    subnets: int

    @property
    def what(self) -> tuple[str, ...]:
        """As arguments."""
        return ("--family", self.family, "--space", self.space, "--resolutions", str(self.side))


SCALES = {
    "cuda": Scale("imagenet-w1.0", "ofa", 224, 60),
    "cpu": Scale("glyphs", "ofa", 32, 40),
    "small": Scale("glyphs", "compofa", 16, 12),
}


@dataclass(frozen=True)
class Case:
    """One table: a name, and the arguments of build_lut that say of what."""

    name: str
    arguments: tuple[str, ...]
    batch: int = 1

    @property
    def rtx(self) -> bool:
        """Whether TensorRT-RTX runs it."""
        return "rtx" in self.arguments


def cases(device: str, engines: Path) -> list[Case]:
    """Those of a device, in the order in which they are worth their time."""
    if device == "cpu":
        plain = (("--backend", "torch", "--device", "cpu"), ("--backend", "onnxruntime"))
        return [Case(f"{backend[1]}-fp32-b1", backend) for backend in plain]

    def of(name: str, batch: int, *arguments: str) -> Case:
        return Case(f"{name}-b{batch}", (*arguments, "--batch", str(batch)), batch)

    torch = ("--backend", "torch", "--device", "cuda", "--precision")
    rtx = ("--backend", "tensorrt", "--runtime", "rtx", "--cache", str(engines), "--precision", "fp16")
    cuda = ("--backend", "onnxruntime", "--provider", "cuda")
    tensorrt = ("--backend", "tensorrt", "--runtime", "tensorrt", "--precision", "fp16")
    return [
        of("torch-fp16", 64, *torch, "fp16"),
        of("torch-fp16", 1, *torch, "fp16"),
        of("torch-fp32", 64, *torch, "fp32"),
        of("torch-fp32", 1, *torch, "fp32"),
        of("tensorrt-rtx-fp16", 64, *rtx),
        of("tensorrt-rtx-fp16", 1, *rtx),
        of("onnxruntime-cuda-fp32", 64, *cuda),
        of("onnxruntime-cuda-fp32", 1, *cuda),
        of("tensorrt-fp16", 64, *tensorrt),
        of("tensorrt-fp16", 1, *tensorrt),
    ]


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    p.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="that is measured")
    p.add_argument("--small", action="store_true", help="glyphs at 16 px, CompOFA's space, 12 subnets: a try")
    p.add_argument("--only", action="append", default=[], metavar="CASE", help="one case; may be repeated")
    p.add_argument("--limit", type=float, default=120, metavar="S", help="seconds that one step may take")
    p.add_argument(
        "--within", type=float, default=float("inf"), metavar="S", help="begin nothing after so many seconds"
    )
    p.add_argument(
        "--prepare", metavar="X.Y", help="only build TensorRT-RTX's engines for a compute capability"
    )
    p.add_argument("--folder", type=Path, default=Path("gpu-tables"), help="for the tables and the engines")
    p.add_argument("--out", type=Path, help="the report (default: report.json in the folder)")
    return p


class Run:
    """The cases of one device, done one after the other.

    Args:
        args: the script's.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.began = args, time.monotonic()
        self.scale = SCALES["small" if args.small else args.device]
        self.engines = args.folder / "engines"
        self.out = args.out or args.folder / "report.json"
        self.suffix = "-small" if args.small else ""
        all_cases = cases(args.device, self.engines)
        self.chosen = [case for case in all_cases if not args.only or case.name in args.only]
        if len(self.chosen) < len(set(args.only)):
            sys.exit(f"gpu_report: there are the cases {', '.join(case.name for case in all_cases)}")
        args.folder.mkdir(parents=True, exist_ok=True)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.report = self._begin()

    def _begin(self) -> dict[str, Any]:
        """A new report, with the cases of an earlier one at the same place."""
        earlier = json.loads(self.out.read_text())["cases"] if self.out.exists() else {}
        return {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "system": platform.platform(),
            "family": self.scale.family,
            "space": self.scale.space,
            "resolution": self.scale.side,
            "targets": TARGETS,
            "cases": earlier,
        }

    def prepare(self, capability: str) -> None:
        """Build the engines that the cases of TensorRT-RTX will ask for on a GPU of `capability`."""
        for case in filter(lambda case: case.rtx, self.chosen):
            print(f"== {case.name}: engines", file=sys.stderr, flush=True)
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "hwbench.engines", *self.scale.what, "--precision", "fp16"),
                    *("--batch", str(case.batch), "--subnets", str(self.scale.subnets)),
                    *("--compute-capability", capability, "--out", str(self.engines)),
                ]
            )
            if done.returncode not in (0, 1):  # 1: some are refused, and will be named
                sys.exit(done.returncode)

    def all(self) -> None:
        """Do what is not done yet, and keep each finding at once."""
        for case in self.chosen:
            found = self.report["cases"].setdefault(case.name, {})
            if "validated" in found:
                continue
            for trouble in ("failed", "unavailable", "unfinished"):
                found.pop(trouble, None)
            print(f"== {case.name}", file=sys.stderr, flush=True)
            for step in (self._possible, self._build, self._validate):
                if any(trouble in found for trouble in ("failed", "unavailable", "unfinished")):
                    break
                if time.monotonic() - self.began > self.args.within:
                    found["unfinished"] = f"no time left for it: --within {self.args.within:g}"
                else:
                    step(case, found)
                self.keep()

    def keep(self) -> None:
        """Write the report as it is."""
        beside = self.out.with_name(f".{self.out.name}.{os.getpid()}")
        beside.write_text(json.dumps(self.report, indent=1, allow_nan=False) + "\n")
        os.replace(beside, self.out)

    # --- the steps of a case ---

    def _possible(self, case: Case, found: dict[str, Any]) -> None:
        """Before TensorRT-RTX is asked for hundreds of engines: one network, and its words."""
        if not case.rtx:
            return
        known = self.report["cases"].get(ONE_NETWORK, {})
        if "latency_ms" not in known:
            scale = self.scale
            what = (scale.family, scale.space, str(scale.side), str(scale.subnets), str(self.engines))
            script = str(Path(__file__).with_name("gpu_one_network.py"))
            _, known = self._run(script, *what)
            self.report["cases"][ONE_NETWORK] = known
        found |= {
            kind: text for kind, text in known.items() if kind in ("failed", "unavailable", "unfinished")
        }

    def _build(self, case: Case, found: dict[str, Any]) -> None:
        lut = self._lut(case)
        code, built = self._run(
            "-m", "hwbench.build_lut", *case.arguments, *self.scale.what, "--out", str(lut), "--json"
        )
        if "entries" in built:
            found["built"] = {**found.get("built", {}), **built}
            found["clocks"] = clocks(lut)
        else:
            found |= {"unavailable": built["failed"]} if code == 3 else built

    def _validate(self, case: Case, found: dict[str, Any]) -> None:
        lut, count = self._lut(case), str(self.scale.subnets)
        cache = ("--option", f"cache={self.engines}") if case.rtx else ()
        _, validated = self._run(
            *("-m", "hwbench.validate", "--lut", str(lut), "--space", self.scale.space, "--subnets", count),
            *(*cache, "--json"),
        )
        if "calibrated" in validated:
            found |= {"validated": validated, "ways": ways(lut)}
        else:
            found |= validated

    def _lut(self, case: Case) -> Path:
        table: Path = self.args.folder / f"{case.name}{self.suffix}.jsonl"
        return table

    def _run(self, *command: str) -> tuple[int, dict[str, Any]]:
        """A Python program's exit code and JSON document, or why there is none."""
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        late = False
        try:
            out, err = process.communicate(timeout=self.args.limit)
        except subprocess.TimeoutExpired:
            late = True
            process.send_signal(signal.SIGINT)  # what it has measured, it keeps
            try:
                out, err = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.communicate()
            raise
        print(err, file=sys.stderr, end="", flush=True)
        last = (err.strip().splitlines() or ["it says nothing"])[-1]
        if late:
            return process.returncode, {"unfinished": f"longer than {self.args.limit:g} s: {last}"}
        try:
            return process.returncode, dict(json.loads(out))
        except ValueError:
            return process.returncode, {"failed": last}


# --- what a table shows ---


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


def line(found: dict[str, Any]) -> str:
    """A case for people."""
    if "latency_ms" in found:
        return f"{found['latency_ms']:.3f} ms: the GPU takes it"
    if "ways" not in found:
        troubles = (
            f"{kind}: {found[kind]}" for kind in ("unavailable", "failed", "unfinished") if kind in found
        )
        return next(troubles, "not begun")
    validated, built = found["validated"], found["built"]
    parts = [
        f"{way.removesuffix('_ms')} {scores['calibrated']['mape_pct']:.2f} % (raw {scores['raw']['mape_pct']:.1f} %)"
        for way, scores in found["ways"].items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in built["target"]["versions"].items())
    speeds = found["clocks"]["sm_clock_mhz"]
    verdict = "meets the targets" if met(found["ways"]["cost"]["calibrated"]) else "misses the targets"
    return "; ".join(
        [
            f"calibrated MAPE {', '.join(parts)}",
            f"repeatability {validated['repeatability_pct']:.2f} %, {validated['n']} subnets",
            f"SM {speeds[0]:.0f}-{speeds[1]:.0f} MHz" if speeds else "clocks unknown",
            versions,
            verdict,
        ]
    )


def main() -> None:
    """Prepare engines, or run the cases, and print what is known of each."""
    args = parser().parse_args()
    run = Run(args)
    if args.prepare:
        run.prepare(args.prepare)
        return
    try:
        run.all()
    finally:
        run.keep()
        for name, found in run.report["cases"].items():
            print(f"{name:26} {line(found)}")


if __name__ == "__main__":
    main()
