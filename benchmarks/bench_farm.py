"""Sixty blocks measured over TVM's RPC on this machine: by one board, by three, and by three of which one is killed.

    python benchmarks/bench_farm.py

Everything is compiled before the clock starts. The boards are servers on the loopback interface, so they share the
cores of this machine: with real boards each has its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time

os.environ.update(OMP_NUM_THREADS="1", TVM_NUM_THREADS="1")

from backends.base import Settings
from backends.tvm.backend import TvmBackend
from backends.tvm.loopback import Farm, farm
from compofa.blocks import Block
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space

KEY = "loopback"
BLOCKS = 60
KILL_AFTER_S = 8.0
"""The boards are then measuring: starting up takes four seconds."""


def build(some: Farm, blocks: list[Block]) -> tuple[float, int]:
    """Seconds for measuring `blocks`, processes started and connected included, and how many boards were left."""
    backend = TvmBackend(Settings(options={"rpc": some.address, "key": KEY}))
    start = time.perf_counter()
    found = [block for batch in backend.as_they_come(blocks) for block, _ in batch.entries]
    seconds = time.perf_counter() - start
    assert len(found) == len(set(found)) == BLOCKS, "each block is measured once"
    left = len(backend.boards.workers)
    backend.boards.close()
    return seconds, left


CASES = ((1, False), (3, False), (3, True))
"""Boards, and whether one is killed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", type=int, choices=range(len(CASES)), help="only this one")
    case = parser.parse_args().case
    blocks = list(get_space("ofa", GLYPHS).all_blocks())[:BLOCKS]
    TvmBackend(Settings()).make_ready([(block,) for block in blocks])
    print(f"{os.cpu_count()} cores, {BLOCKS} blocks of glyphs, compiled before")
    for servers, kill in CASES if case is None else [CASES[case]]:
        with farm(servers, KEY) as some:
            timer = threading.Timer(KILL_AFTER_S, some.signal, (1, signal.SIGKILL))
            if kill:
                timer.start()
            seconds, left = build(some, blocks)
            timer.cancel()
        what = f"{servers} board{'s' * (servers > 1)}{', one killed' * kill}"
        print(f"{what:22} {seconds:6.1f} s, {BLOCKS} blocks measured once, {left} boards left")


if __name__ == "__main__":
    main()
