"""Engines for a device that need not be here: all that measuring a table will ask for, built by several processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from backends.base import Network
from backends.measuring.differencing import Plan
from backends.measuring.reference import REFERENCE
from backends.tensorrt.build import Graph, Request
from backends.tensorrt.engines import Engines, Identity
from backends.tensorrt.library import RTX
from backends.tensorrt.worker import Builder, BuildFailed, BuildRefused, build_command
from compofa.blocks import Block


@dataclass
class Report:
    """What became of the engines.

    Args:
        built: how many now.
        found: how many were there.
        refused: the networks that the library has no way to run, with its words.
        failed: the networks whose process crashed or took too long; they may be asked for again.
    """

    built: int = 0
    found: int = 0
    refused: dict[Network, str] = field(default_factory=dict)
    failed: dict[Network, str] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        """Engines that are there."""
        return self.built + self.found


def graphs_of(
    blocks: Sequence[Block], networks: Sequence[Network], *, precision: str, batch: int, seed: int
) -> list[Graph]:
    """What measuring `blocks` and `networks` runs: each graph once, the sentinel's among them, whose weights are of
    seed 0 in every table."""
    asked = dict.fromkeys((*Plan(tuple(blocks)).networks, *networks))
    asked.pop(REFERENCE, None)
    seeds = {REFERENCE: 0, **dict.fromkeys(asked, seed)}
    return [Graph(network, precision, batch, one_seed) for network, one_seed in seeds.items()]


def by_block(reasons: dict[Network, str], blocks: Sequence[Block]) -> dict[Block, str]:
    """The blocks that cannot be measured without one of the networks, with its reason."""
    plan = Plan(tuple(blocks))
    return {block: reason for network, reason in reasons.items() for block in plan.of(network)}


def engines_for(capability: str, folder: Path) -> Engines:
    """The engines of TensorRT-RTX, as installed here, for GPUs of a compute capability.

    Raises:
        Unavailable: it is not installed.
    """
    return Engines(folder, Identity(RTX.name, RTX.version, capability))


def build_all(
    graphs: Sequence[Graph],
    engines: Engines,
    *,
    processes: int,
    timeout_s: float,
    advance: Callable[[int], None],
    command: Sequence[str] | None = None,
) -> Report:
    """Build the engine of each graph that has none.

    Args:
        graphs: of distinct networks.
        engines: where they are kept, and for what they are.
        processes: that build, each with one core.
        timeout_s: for one engine.
        advance: called with each number of engines done.
        command: for tests: what starts a building process.

    Raises:
        CannotKeep: an engine cannot be written.
    """
    report = Report()
    command = command or build_command(RTX, "host")
    with _builders(min(processes, max(len(graphs), 1)), timeout_s, command) as (pool, builders):

        def build(graph: Graph) -> bool:
            builder = builders.get()
            try:
                return builder.build(Request(graph, engines))
            finally:
                builders.put(builder)

        futures = {pool.submit(build, graph): graph.network for graph in graphs}
        for future in as_completed(futures):
            _note(report, futures[future], future.result)
            advance(1)
    return report


def _note(report: Report, network: Network, result: Callable[[], bool]) -> None:
    try:
        if result():
            report.built += 1
        else:
            report.found += 1
    except BuildRefused as refused:
        report.refused[network] = str(refused)
    except BuildFailed as failed:
        report.failed[network] = str(failed)


@contextlib.contextmanager
def _builders(
    count: int, timeout_s: float, command: Sequence[str]
) -> Iterator[tuple[ThreadPoolExecutor, SimpleQueue[Builder]]]:
    """As many threads as building processes; whatever ends the block ends the processes."""
    made = [Builder(timeout_s, command) for _ in range(count)]
    free: SimpleQueue[Builder] = SimpleQueue()
    for builder in made:
        free.put(builder)
    pool = ThreadPoolExecutor(count)
    try:
        yield pool, free
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for builder in made:
            builder.stop()
        pool.shutdown()
        for builder in made:
            builder.close()
