"""What evaluating costs, and what it would if freed memory went back to the system.

    python benchmarks/bench_evaluate.py

Random subnets of CompOFA's space, in its shipped supernet, on all 2,480 test images, one thread; each way in processes
of its own, in turn. Printed is the processor time of one subnet and the most memory that was held.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

from compofa import parallel_evaluation
from compofa.evaluate import make_evaluator
from compofa.parallel_evaluation import Source, correct_counts
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from hwbench import shipped

WAYS = ("kept", "given back")


def measure(way: str, subnets: int) -> None:
    """Print, as JSON, processor seconds a subnet and MiB."""
    if way != "kept":
        parallel_evaluation.freed_memory_kept = contextlib.nullcontext  # type: ignore[assignment]
    family = get_family("glyphs")
    source = Source(shipped.supernet("glyphs", "compofa"), "glyphs")
    space, rng = get_space("compofa", family), np.random.default_rng(0)
    archs = sorted((space.sample(rng) for _ in range(subnets)), key=lambda arch: arch.resolution)
    evaluator = make_evaluator(*source)
    start = time.process_time()
    correct = list(correct_counts(evaluator, source, archs, workers=1))
    seconds = (time.process_time() - start) / subnets
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "mib": most, "correct": correct}))


def main() -> None:
    """Each way three times, in turn."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--subnets", type=int, default=30)
    p.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.way:
        measure(args.way, args.subnets)
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(3):
        for way in WAYS:
            command = [sys.executable, __file__, "--subnets", str(args.subnets), "--way", way]
            found[way].append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    assert len({str(run["correct"]) for runs in found.values() for run in runs}) == 1
    for way, runs in found.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        most = max(run["mib"] for run in runs)
        print(f"{way:12}{seconds:.2f} s of processor time a subnet, at most {most:,.0f} MiB")


if __name__ == "__main__":
    main()
