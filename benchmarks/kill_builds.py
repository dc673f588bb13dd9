"""Builds that are ended at random moments: nothing finished is lost, nothing is measured twice.

    python benchmarks/kill_builds.py --kills 20

A table is built with ONNX Runtime, each build is ended by a signal at a random moment, and the same command goes on.
After each signal the lines that were there must be there, unchanged; when a build is let run to its end the table must
be complete, each block once. Then the next table is begun, until each signal came so often *in the middle*: to a build
that was at work and had not finished. Exits with 1 if anything was lost or came twice.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from lut import store

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT}
TIMEOUT_S = 300
"""Of one build."""


@dataclass
class Tally:
    """What was seen of one signal.

    Args:
        signals: sent.
        in_the_middle: of these, to a build that was at work; the table was not complete after it.
        with_entries: of these, when entries of the table were on the disk.
        tables: finished.
        problems: what was lost, came twice, or was said wrongly.
    """

    signals: int = 0
    in_the_middle: int = 0
    with_entries: int = 0
    tables: int = 0
    problems: list[str] = field(default_factory=list)


class Builds:
    """One table after the other, each by builds that are ended at random.

    Args:
        folder: for the tables.
        arguments: of ``hwbench build_lut``, with the space and the resolutions of `wanted`.
        wanted: how many blocks these are.
        seed: of the moments.
    """

    def __init__(self, folder: Path, arguments: list[str], wanted: int, seed: int) -> None:
        self.path = folder / "table.jsonl"
        self.command = [sys.executable, "-m", "hwbench.build_lut", *arguments, "--out", str(self.path)]
        self.wanted = wanted
        self.random = random.Random(seed)

    def end_by(self, name: str, kills: int) -> Tally:
        """Until `kills` signals came in the middle, and the last table is finished."""
        tally = Tally()
        self.path.unlink(missing_ok=True)
        known: list[bytes] = []
        while tally.in_the_middle < kills:
            process = self._start()
            if self._wait(process, len(known)) and process.poll() is None:
                process.send_signal(SIGNALS[name])
                _, errors = process.communicate(timeout=TIMEOUT_S)
                known = self._check_end(tally, process.returncode, errors, known)
            else:  # it was done before
                process.communicate(timeout=TIMEOUT_S)
                lines = self._lines()
                if lines[: len(known)] != known:
                    tally.problems.append(f"signal {tally.signals}: a build that went on changed lines")
                known = lines
            if len(known) == 1 + self.wanted or process.returncode == 0:
                known = self._finish(tally, known)
        self._finish(tally, known)
        return tally

    def _start(self, *more: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([*self.command, *more], stdout=pipe, stderr=pipe, text=True)

    def _wait(self, process: subprocess.Popen[str], lines: int) -> bool:
        """Until a random moment: of the whole run, or, mostly, of its time after the first new entries. False if the
        build is done before."""
        if self.random.random() < 0.25:
            time.sleep(self.random.uniform(0.1, 2.0))
            return True
        while process.poll() is None and len(self._lines()) <= max(lines, 1):
            time.sleep(0.01)
        time.sleep(self.random.uniform(0.0, 1.0))
        return process.poll() is None

    def _lines(self) -> list[bytes]:
        """The whole lines of the table."""
        content = self.path.read_bytes() if self.path.exists() else b""
        return content[: content.rfind(b"\n") + 1].splitlines(keepends=True)

    def _check_end(self, tally: Tally, code: int, errors: str, known: list[bytes]) -> list[bytes]:
        lines = self._lines()
        tally.signals += 1
        tally.in_the_middle += code != 0 and len(lines) < 1 + self.wanted
        tally.with_entries += code != 0 and 1 < len(lines) < 1 + self.wanted
        if lines[: len(known)] != known:
            tally.problems.append(f"signal {tally.signals}: lines that were there are lost or changed")
        if lines:
            store.read(self.path)
        said = re.search(rf"interrupted: (\d+) of {self.wanted} blocks are in ", errors)
        if code == 130 and said and int(said[1]) != max(len(lines) - 1, 0):
            tally.problems.append(f"signal {tally.signals}: {said[1]} blocks said, {len(lines) - 1} there")
        if code not in (0, 130, -signal.SIGKILL, -signal.SIGINT):
            tally.problems.append(f"signal {tally.signals}: exit code {code}: {errors.strip()[-200:]}")
        return lines

    def _finish(self, tally: Tally, known: list[bytes]) -> list[bytes]:
        """Let a build run to its end, check the table, and remove it."""
        process = self._start("--json")
        out, errors = process.communicate(timeout=TIMEOUT_S)
        tally.tables += 1
        if process.returncode:
            tally.problems.append(
                f"table {tally.tables}: exit code {process.returncode}: {errors.strip()[-200:]}"
            )
            return []
        lines, measured = self._lines(), json.loads(out)["measured"]
        entries = len(store.read(self.path)[1])
        if not (lines[: len(known)] == known and entries == self.wanted == len(lines) - 1):
            tally.problems.append(
                f"table {tally.tables}: {entries} of {self.wanted} blocks in {len(lines)} lines"
            )
        if known and measured != entries - (len(known) - 1):
            tally.problems.append(
                f"table {tally.tables}: {measured} measured anew, {len(known) - 1} were there"
            )
        self.path.unlink()
        return []


def main() -> int:
    """Print what was seen of each signal."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--kills", type=int, default=20, metavar="N", help="in the middle, of each signal")
    p.add_argument("--signals", nargs="+", choices=SIGNALS, default=list(SIGNALS))
    p.add_argument("--space", default="ofa")
    p.add_argument("--resolutions", default="16,20", help="of glyphs: few, so that a build is short")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    sides = [int(side) for side in args.resolutions.split(",")]
    wanted = len(get_space(args.space, get_family("glyphs")).all_blocks(sides))
    arguments = ["--family", "glyphs", "--space", args.space, "--resolutions", args.resolutions]
    tallies = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.signals:
            tallies[name] = Builds(Path(folder), arguments, wanted, args.seed).end_by(name, args.kills)
    if args.json:
        print(json.dumps({name: asdict(tally) for name, tally in tallies.items()}, indent=2))
    for name, tally in () if args.json else tallies.items():
        print(
            f"{name:8} {tally.signals} sent, {tally.in_the_middle} in the middle, {tally.with_entries} of them with "
            f"entries on the disk; {tally.tables} tables finished; {len(tally.problems)} problems"
        )
        print("".join(f"         {problem}\n" for problem in tally.problems), end="")
    return int(any(tally.problems for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
