"""The tvm backend: latencies of compiled blocks and networks, on this machine or on boards."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from backends.base import (
    Backend,
    BackendUnavailable,
    Batch,
    Measurement,
    Network,
    Option,
    Settings,
    Target,
    Verdict,
)
from backends.host import package_versions
from backends.rotation import BLOCK_TIMING, NETWORK_TIMING
from backends.timing import TimingSettings
from backends.tvm.address import Address
from backends.tvm.target import TvmTarget, load_target
from compofa.blocks import Block

if TYPE_CHECKING:
    from backends.tvm.crew import Crew
    from backends.tvm.library import Recipe
    from backends.tvm.measuring import Job

PACKAGES = {
    "tvm": "apache-tvm",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "psutil": "psutil",
    "tornado": "tornado",
}
INSTALL = (
    "pip install 'hwbench[tvm]', or pip install apache-tvm==0.27.0.post1 apache-tvm-ffi==0.1.14.post1 tornado"
)
BLOCKS_A_JOB = 32
LOG = logging.getLogger(__name__)


class TvmBackend(Backend):
    """Blocks and networks compiled by TVM; every output is compared with ONNX Runtime's before it is timed.

    Args:
        settings: precision ``fp32``; `threads` up to the target's cores.
        block_timing, network_timing: how long and how carefully to time.

    Raises:
        ValueError: there is no such target, an option is wrong, or the target needs a board and none is given.
    """

    name = "tvm"
    timing_s: float
    options = (
        Option("target", "name of a target, or path of a TOML file", "host", metavar="TARGET"),
        Option(
            "rpc",
            "a TVM RPC server, or with --key a tracker; needed unless the target is host",
            metavar="HOST:PORT",
        ),
        Option("key", "of the boards at the tracker; all of them share the work", metavar="KEY"),
        Option("tune", "tune each operator with so many trials; 0: untuned", "0", metavar="TRIALS"),
        Option(
            "tuning_database",
            "folder of the tuning database (default: one for each target)",
            metavar="FOLDER",
        ),
        Option(
            "timeout",
            "seconds without a sign of life after which a board is dropped",
            "120",
            metavar="SECONDS",
        ),
    )

    def __init__(
        self,
        settings: Settings,
        *,
        block_timing: TimingSettings = BLOCK_TIMING,
        network_timing: TimingSettings = NETWORK_TIMING,
    ) -> None:
        super().__init__(settings)
        self.compiled_for: TvmTarget = load_target(self.option("target"))
        self.address = Address.parse(self.option("rpc"), self.option("key"))
        self.trials = _whole(self.option("tune"), "tune", least=0)
        self.silence_s = float(_whole(self.option("timeout"), "timeout", least=1))
        self.block_timing, self.network_timing = block_timing, network_timing
        self.timing_s = 0.0
        if settings.precision != "fp32":
            raise ValueError(f"backend tvm has no precision {settings.precision!r}; it has fp32")
        if settings.batch < 1 or not 1 <= settings.threads <= self.compiled_for.cores:
            raise ValueError(
                f"the batch must be at least 1 and threads 1 to {self.compiled_for.cores}, the cores of "
                f"{self.compiled_for.name}, not {settings.batch} and {settings.threads}"
            )
        self.compiled_for.check_compiler()
        _ = self.recipe

    @classmethod
    def probe(cls) -> str | None:
        missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
        return f"{' and '.join(missing)} cannot be imported; install with: {INSTALL}" if missing else None

    @cached_property
    def recipe(self) -> Recipe:
        """How blocks are compiled."""
        from backends.tvm import tuning
        from backends.tvm.library import Recipe

        target, threads = self.compiled_for, self.settings.threads
        folder = Path(self.option("tuning_database") or tuning.database_folder(target, threads)).absolute()
        recipe = Recipe(target, threads, self.settings.batch, self.trials, folder)
        if self.trials:
            tuning.check_database(folder, recipe)
        return recipe

    @cached_property
    def target(self) -> Target:
        target = self.compiled_for
        return Target(
            backend=self.name,
            device=target.device,
            precision=self.settings.precision,
            batch=self.settings.batch,
            threads=self.settings.threads,
            versions=package_versions(["apache-tvm"]),
            details=(
                ("code", target.digest),
                ("mcpu", target.mcpu),
                ("target", self.option("target")),
                ("tune", str(self.trials)),
            ),
        )

    @property
    def caution(self) -> str | None:
        if self.trials:
            return None
        return "the code is not tuned: TVM's plain loops are many times slower than tuned ones (--tune 64)"

    # --- checking ---

    def verify(self, blocks: Sequence[Block], emulate: bool = False) -> Iterator[Verdict]:
        from backends.tvm import emulator
        from backends.tvm.crew import Crew
        from backends.tvm.measuring import Verifier

        if not emulate:
            self._needs_board()
        elif reason := emulator.problem(self.compiled_for):
            raise BackendUnavailable(f"cannot emulate {self.compiled_for.name}: {reason}")
        verifier = Verifier(self.recipe, self.address, self.settings.seed, emulate)
        crew = Crew([verifier], self.silence_s, replace=False)
        try:
            for start in range(0, len(blocks), BLOCKS_A_JOB):
                some = blocks[start : start + BLOCKS_A_JOB]
                self.make_ready([(block,) for block in some])
                for _, found in crew.run([some]):
                    yield from found
        finally:
            crew.close()

    def _needs_board(self) -> None:
        if not self.compiled_for.is_host and not self.address.host:
            raise ValueError(
                f"target {self.compiled_for.name} runs on a board: give --rpc HOST:PORT (docs/tvm.md says how to "
                "bring one up), or check it without one: hwbench verify --backend tvm --emulate"
            )

    # --- measuring ---

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        found = {i: m for batch in self._blocks_done(blocks) for i, m in batch}
        return [found[i] for i in range(len(blocks))]

    def as_they_come(self, blocks: Sequence[Block]) -> Iterator[Batch]:
        for done in self._blocks_done(blocks):
            yield Batch([(blocks[i], measurement) for i, measurement in done])

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        from backends.tvm.measuring import Job

        jobs = _split(range(len(networks)), len(self.boards.trades))
        self.make_ready(networks)
        found: dict[int, Measurement] = {}
        for index, done in self.boards.run([Job(tuple(networks[i] for i in job), False) for job in jobs]):
            self.timing_s += done.timing_s
            found |= dict(zip(jobs[index], done.measurements, strict=True))
        return [found[i] for i in range(len(networks))]

    def _blocks_done(self, blocks: Sequence[Block]) -> Iterator[list[tuple[int, Measurement]]]:
        """(index, measurement) of each block, in batches as they are done."""
        from backends.tvm.measuring import Job

        boards = len(self.boards.trades)
        for some in _split(range(len(blocks)), -(-len(blocks) // (BLOCKS_A_JOB * boards))):
            self.make_ready([(blocks[i],) for i in some])
            parts = _split(some, boards)
            jobs: list[Job] = [Job(tuple((blocks[i],) for i in part), True) for part in parts]
            for index, done in self.boards.run(jobs):
                self.timing_s += done.timing_s
                yield list(zip(parts[index], done.measurements, strict=True))

    @cached_property
    def boards(self) -> Crew:
        """One worker for each board.

        Raises:
            BackendUnavailable: the tracker cannot be reached.
            ValueError: no board has the key; this target needs one.
        """
        from backends.tvm.crew import Crew
        from backends.tvm.measuring import Measurer

        self._needs_board()
        count = 1
        if self.address.key:
            count = self.address.count_boards()
        elif self.address.host:
            self.address.check_reachable()
        measurer = Measurer(
            self.recipe, self.address, self.block_timing, self.network_timing, self.settings.seed
        )
        return Crew([measurer] * count, self.silence_s, replace=False)

    def make_ready(self, networks: Sequence[Network]) -> None:
        """Tune and compile what was not before, on all cores; nothing is timed meanwhile."""
        from backends.tvm import library
        from backends.tvm.crew import Crew
        from backends.tvm.tuning import Tuner

        todo = [network for network in networks if library.find(self.recipe, network) is None]
        if not todo:
            return
        library.prune(library.libraries_folder())
        if self.trials:
            tuners = Crew([Tuner(self.recipe, self.address, self.settings.seed)], TUNING_SILENCE_S)
            for _ in tuners.run(todo):
                pass
            tuners.close()
        for _ in self._compilers.run(todo):
            pass

    @cached_property
    def _compilers(self) -> Crew:
        """One for each core; idle while anything is timed."""
        from backends.tvm.crew import Crew
        from backends.tvm.measuring import Compiler

        return Crew([Compiler(self.recipe)] * (os.cpu_count() or 1), COMPILING_SILENCE_S)


TUNING_SILENCE_S = 600.0
COMPILING_SILENCE_S = 900.0
"""Generous: what hangs there is a bug in TVM, not a board."""


def _whole(text: str, name: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"--{name} is a whole number, at least {least}, not {text!r}")
    return int(text)


def _split(items: Sequence[int], parts: int) -> list[Sequence[int]]:
    """`items` in at most `parts` runs of about equal length, none empty."""
    parts = max(1, min(parts, len(items)))
    ends = [round(i * len(items) / parts) for i in range(parts + 1)]
    return [items[a:b] for a, b in pairwise(ends) if a < b]
