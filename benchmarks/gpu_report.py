"""Build, validate and report tables of a GPU: what ``benchmarks/gpu.sh`` runs.

A case is one table, and each of its steps takes less than two minutes. What it found is in the report as soon as it was
found, so that a run that is interrupted, or cut off when the machine goes back, has finished tables; the same command
goes on with what is missing.

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
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpu_findings import TARGETS, TROUBLES, clocks, line, ways

ONE_NETWORK = "tensorrt-rtx-one-network"
LEAST_S = 20.0
"""With less time left no step is begun."""
FILES = ("lut", "picture", "calibration")
"""Of a document of a command: where it wrote them, which is nobody else's matter."""
MARGIN_S = 10.0
"""Of the time there is, that a step that is cut off needs to write down what it has."""


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
    """One table: a name, the arguments of build_lut that say of what, and the batch."""

    name: str
    arguments: tuple[str, ...]
    batch: int = 1

    @property
    def rtx(self) -> bool:
        """Whether TensorRT-RTX runs it."""
        return "rtx" in self.arguments

    @property
    def energy(self) -> bool:
        """Whether it is about energy."""
        return "--energy" in self.arguments

    @property
    def last(self) -> str:
        """What its last step leaves in the report."""
        return "energies" if self.energy else "validated"


ENERGY = ("--energy", "yes")
ENERGY_SPACE = "compofa"
"""Each block takes seconds, so fewer are measured."""


def cases(device: str, engines: Path) -> list[Case]:
    """Those of a device, in the order in which they are worth their time."""
    if device == "cpu":
        plain = (("--backend", "torch", "--device", "cpu"), ("--backend", "onnxruntime"))
        energy = Case("torch-fp32-energy-b1", (*plain[0], *ENERGY))
        return [*(Case(f"{backend[1]}-fp32-b1", backend) for backend in plain), energy]

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
        of("torch-fp16-energy", 64, *torch, "fp16", *ENERGY),
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
        "--within", type=float, default=float("inf"), metavar="S", help="be done after so many seconds"
    )
    p.add_argument(
        "--prepare", metavar="X.Y", help="only build TensorRT-RTX's engines for a compute capability"
    )
    p.add_argument("--folder", type=Path, default=Path("gpu-tables"), help="for the tables and the engines")
    p.add_argument("--out", type=Path, help="the report (default: report.json in the folder)")
    return p


Step = Callable[[Case, dict[str, Any]], None]
"""Does a part of a case, and adds what it found, or what went wrong, to its report."""


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
            if case.last in found:
                continue
            for trouble in TROUBLES:
                found.pop(trouble, None)
            print(f"== {case.name}", file=sys.stderr, flush=True)
            for step in (self._possible, self._build, self._energies if case.energy else self._validate):
                if any(trouble in found for trouble in TROUBLES):
                    break
                if self._left_s < LEAST_S:
                    found["unfinished"] = f"no time left for it: --within {self.args.within:g}"
                else:
                    self._attempt(step, case, found)
                self.keep()

    def _attempt(self, step: Step, case: Case, found: dict[str, Any]) -> None:
        """A step; a mistake of this script's own must not cost the cases after it: the device is lent for minutes."""
        try:
            step(case, found)
        except Exception as error:
            traceback.print_exc()
            found["failed"] = f"{type(error).__name__} in this script: {error}"

    @property
    def _left_s(self) -> float:
        return float(self.args.within) - (time.monotonic() - self.began)

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
        found |= {kind: text for kind, text in known.items() if kind in TROUBLES}

    def _build(self, case: Case, found: dict[str, Any]) -> None:
        lut = self._lut(case)
        scale = replace(self.scale, space=ENERGY_SPACE) if case.energy else self.scale
        code, built = self._run(
            "-m", "hwbench.build_lut", *scale.what, *case.arguments, "--out", str(lut), "--json"
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
            *(*cache, "--json", "--force-calibration"),  # the report says how far to trust it
        )
        if "calibrated" in validated:
            found |= {"ways": ways(lut), "validated": validated}
        else:
            found |= validated

    def _energies(self, case: Case, found: dict[str, Any]) -> None:
        lut = self._lut(case)
        script = str(Path(__file__).with_name("gpu_energy.py"))
        counted = ("--subnets", str(min(self.scale.subnets, 40)), "--out", str(lut.with_suffix(".networks")))
        _, energies = self._run(script, "--lut", str(lut), "--space", ENERGY_SPACE, *counted)
        found |= {"energies": energies} if "calibrated" in energies else energies

    def _lut(self, case: Case) -> Path:
        table: Path = self.args.folder / f"{case.name}{self.suffix}.jsonl"
        return table

    def _run(self, *command: str) -> tuple[int, dict[str, Any]]:
        """A Python program's exit code and JSON document, or why there is none."""
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        late = False
        limit_s = min(self.args.limit, self._left_s - MARGIN_S)
        try:
            out, err = process.communicate(timeout=limit_s)
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
            return process.returncode, {"unfinished": f"longer than {limit_s:.3g} s: {last}"}
        try:
            return process.returncode, {k: v for k, v in json.loads(out).items() if k not in FILES}
        except ValueError:
            return process.returncode, {"failed": last}


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
