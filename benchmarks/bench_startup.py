"""How long `--help` of each command takes, beside the floor: starting Python to do nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from hwbench.cli import COMMANDS

ROUNDS = 9


def seconds(*arguments: str) -> float:
    """Wall time of one start of Python."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the medians, the cases in turn."""
    cases: dict[str, tuple[str, ...]] = {"python -c pass": ("-c", "pass")}
    cases |= {f"hwbench {name} --help": ("-m", f"hwbench.{name}", "--help") for name in COMMANDS}
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, arguments in cases.items():
            times[name].append(seconds(*arguments))
    for name, found in times.items():
        print(f"{name:26} {1e3 * statistics.median(found):6.0f} ms")


if __name__ == "__main__":
    main()
