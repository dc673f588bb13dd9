"""Blocks compiled by TVM, untuned and tuned, beside ONNX Runtime, on this machine: one process, alternated.

    python benchmarks/bench_tvm.py --trials 64          # tunes what was not tuned before, then times
    python benchmarks/bench_tvm.py --trials 64 --tune-only

All three run the same graph with the same weights; each case is timed in rotation with all the others, by the
loop that builds tables, one thread. A tuned figure says with how many trials an operator.
"""

from __future__ import annotations

import argparse
import os

os.environ.update(OMP_NUM_THREADS="1", TVM_NUM_THREADS="1")

from backends.base import Settings
from backends.machine.clocks import Case, host_clocks
from backends.measuring.pairing import Pacer
from backends.measuring.reference import READING_RUNS, REFERENCE, at_quietest
from backends.measuring.rotation import BLOCK_TIMING
from backends.measuring.summary import summarise
from backends.measuring.timing import time_beside
from backends.onnxruntime_cpu import bound_run, open_session
from backends.tvm.backend import TvmBackend
from backends.tvm.library import Recipe, find
from compofa.blocks import Block

BLOCKS = (
    Block("mbconv", (24, 40, 40), 24, 96, kernel=3, act="relu", shortcut=True),
    Block("mbconv", (24, 40, 40), 40, 96, kernel=5, stride=2, se=True, act="relu"),
    Block("mbconv", (40, 20, 20), 40, 240, kernel=5, se=True, act="relu", shortcut=True),
    Block("mbconv", (80, 10, 10), 80, 320, kernel=3, act="hswish", shortcut=True),
    Block("mbconv", (112, 10, 10), 112, 672, kernel=7, se=True, act="hswish", shortcut=True),
    Block("mbconv", (160, 5, 5), 160, 640, kernel=5, se=True, act="hswish", shortcut=True),
)
"""Of imagenet-w1.0 at 160 px, from each unit."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=64, help="of each operator")
    parser.add_argument("--blocks", type=int, nargs="+", default=range(len(BLOCKS)), help="numbers, from 0")
    parser.add_argument("--tune-only", action="store_true", help="do not time")
    args = parser.parse_args()
    untuned = TvmBackend(Settings())
    tuned = TvmBackend(Settings(options={"tune": str(args.trials)}))
    blocks = [BLOCKS[i] for i in args.blocks]
    networks = [(block,) for block in blocks]
    for backend in (untuned, tuned):
        backend.make_ready(networks)
    if not args.tune_only:
        report(blocks, untuned.recipe, tuned.recipe)


def report(blocks: list[Block], untuned: Recipe, tuned: Recipe) -> None:
    """Time everything and print the table."""
    from backends.tvm.address import Address
    from backends.tvm.device import Device
    from backends.tvm.measuring import checked_program

    device = Device(untuned.target, Address(), 1)

    def tvm_case(recipe: Recipe, block: Block) -> Case:
        return checked_program(recipe, device, (block,), 0)[0].case()

    def onnx_case(block: Block) -> Case:
        return host_clocks().case(bound_run(open_session(untuned.graph((block,)), 1), 0))

    makers = (lambda b: tvm_case(untuned, b), lambda b: tvm_case(tuned, b), onnx_case)
    cases = [make(block) for block in blocks for make in makers]
    pacer = Pacer(onnx_case(REFERENCE[0]), READING_RUNS)
    reference_ms = at_quietest(pacer, seconds=1.0).latency_ms
    timing = time_beside(pacer, cases, BLOCK_TIMING)
    found = summarise(timing.ratios, reference_ms, BLOCK_TIMING, paired=timing.paired)
    print(f"{untuned.target.device}, mcpu {untuned.target.mcpu}, fp32, batch 1, one thread, medians in ms")
    print(
        f"{'block':42} {'untuned':>8} {'tuned':>8} {'trials':>6} {'ONNX RT':>8} {'untuned/tuned':>13} {'tuned/ORT':>9}"
    )
    for i, block in enumerate(blocks):
        a, b, c = (m.latency_ms for m in found[3 * i : 3 * i + 3])
        library = find(tuned, (block,))
        trials = library.trials if library else 0
        print(f"{block!s:42} {a:8.3f} {b:8.3f} {trials:6} {c:8.3f} {a / b:13.1f} {b / c:9.2f}")
    print(f"noisy: {sum(m.noisy for m in found)} of {len(found)}; timed in {timing.timing_s:.0f} s")


if __name__ == "__main__":
    main()
