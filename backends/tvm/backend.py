"""The tvm backend: latencies of compiled blocks and networks, on this machine or on boards."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from backends.base import (
    Backend,
    BackendUnavailable,
    Batch,
    BlocksFailed,
    CannotRun,
    Measurement,
    Network,
    Option,
    Settings,
    Target,
    Verdict,
)
from backends.machine.host import check_threads, package_versions
from backends.measuring import METHOD
from backends.measuring.reference import REFERENCE, Reference, compare, keep, known_reference
from backends.measuring.rotation import BLOCK_TIMING, NETWORK_TIMING
from backends.measuring.timing import TimingSettings
from backends.tvm.address import CONNECT_S, Address
from backends.tvm.target import TvmTarget, load_target
from compofa.blocks import Block
from compofa.errors import InputError

if TYPE_CHECKING:
    from backends.tvm.crew import Crew
    from backends.tvm.library import Recipe
    from backends.tvm.measuring import Done, Job, Measurer

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
T = TypeVar("T")


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
        self._given_reference: Reference | None = None
        self._compiling: dict[Recipe, Crew] = {}
        if settings.precision != "fp32":
            raise InputError(f"backend tvm has no precision {settings.precision!r}; it has fp32")
        if settings.batch < 1 or not 1 <= settings.threads <= self.compiled_for.cores:
            raise InputError(
                f"the batch must be at least 1 and threads 1 to {self.compiled_for.cores}, the cores of "
                f"{self.compiled_for.name}, not {settings.batch} and {settings.threads}"
            )
        if self.compiled_for.is_host:
            check_threads(settings.threads)
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
                ("clock", "thread CPU time" if self.settings.threads == 1 else "wall time"),
                ("code", target.digest),
                ("mcpu", target.mcpu),
                ("target", self.option("target")),
                ("timing", METHOD),
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
                _check(self.make_ready([(block,) for block in some]))
                for _, found in crew.run([some]):
                    if isinstance(found, CannotRun):
                        raise found
                    yield from found
        finally:
            crew.close()

    def _needs_board(self) -> None:
        if not self.compiled_for.is_host and not self.address.host:
            raise InputError(
                f"target {self.compiled_for.name} runs on a board: give --rpc HOST:PORT (docs/tvm.md says how to "
                "bring one up), or check it without one: hwbench verify --backend tvm --emulate"
            )

    # --- measuring ---

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        found: dict[Block, Measurement] = {}
        failures: dict[Block, str] = {}
        for batch in self.as_they_come(blocks):
            found |= dict(batch.entries)
            failures |= batch.failures
        if failures:
            raise BlocksFailed(failures)
        return [found[block] for block in blocks]

    def as_they_come(self, blocks: Sequence[Block]) -> Iterator[Batch]:
        from backends.tvm.measuring import Job

        boards = len(self.boards.trades)
        for some in _split(blocks, -(-len(blocks) // (BLOCKS_A_JOB * boards))):
            refused = {block: why for (block,), why in self.make_ready([(block,) for block in some]).items()}
            if refused:
                yield Batch([], refused)
            parts = _split([block for block in some if block not in refused], boards)
            jobs: list[Job] = [Job(tuple((block,) for block in part), True) for part in parts]
            for index, done in self._done(jobs):
                yield Batch(
                    [(parts[index][i], measurement) for i, measurement in done.measurements.items()],
                    {parts[index][i]: why for i, why in done.failures.items()},
                )

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        from backends.tvm.measuring import Job

        parts = _split(range(len(networks)), len(self.boards.trades))
        _check(self.make_ready(networks))
        found: dict[int, Measurement] = {}
        for index, done in self._done([Job(tuple(networks[i] for i in part), False) for part in parts]):
            _check({networks[parts[index][i]]: why for i, why in done.failures.items()})
            found |= {parts[index][i]: measurement for i, measurement in done.measurements.items()}
        return [found[i] for i in range(len(networks))]

    def _done(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Done]]:
        """`jobs`, as the boards do them."""
        for index, done in self.boards.run(jobs):
            if isinstance(done, CannotRun):
                raise done
            self.timing_s += done.timing_s
            if done.reference:
                compare(self.target, self._reference, done.reference, self.say)
            yield index, done

    @property
    def reference(self) -> dict[str, Any] | None:
        return self._reference.to_dict()

    def use_reference(self, reference: Any) -> None:
        self._given_reference = None if reference is None else Reference.from_dict(reference)

    @cached_property
    def _reference(self) -> Reference:
        """As it is known, or measured now on one of the boards."""
        from backends.tvm.crew import Crew
        from backends.tvm.measuring import Job

        _check(self._make_ready(replace(self.recipe, trials=0), [REFERENCE]))
        if known := known_reference(self.target, self._given_reference, self.say):
            return known
        with closing(Crew([self._measurer(None)], self.silence_s, replace=False)) as crew:
            ((_, done),) = crew.run([Job((), False)])
        if isinstance(done, CannotRun):
            raise done
        found: Reference = done.reference
        keep(self.target, found, self.say)
        return found

    def _measurer(self, reference: Reference | None) -> Measurer:
        from backends.tvm.measuring import Measurer

        timings = self.block_timing, self.network_timing
        return Measurer(self.recipe, self.address, *timings, self.settings.seed, reference)

    @cached_property
    def boards(self) -> Crew:
        """One worker for each board.

        Raises:
            BackendUnavailable: the tracker cannot be reached.
            ValueError: no board has the key; this target needs one.
        """
        from backends.tvm.crew import Crew

        self._needs_board()
        count = 1
        if self.address.key:
            count = self.address.count_boards(min(self.silence_s, CONNECT_S))
        elif self.address.host:
            self.address.check_reachable(min(self.silence_s, CONNECT_S))
        return Crew([self._measurer(self._reference)] * count, self.silence_s, replace=False)

    def make_ready(self, networks: Sequence[Network]) -> dict[Network, str]:
        """Tune and compile what was not before, on all cores; nothing is timed meanwhile.

        Returns:
            The networks that TVM cannot tune or compile, each with the reason.
        """
        return self._make_ready(self.recipe, networks)

    def _make_ready(self, recipe: Recipe, networks: Sequence[Network]) -> dict[Network, str]:
        from backends.tvm import library
        from backends.tvm.crew import Crew
        from backends.tvm.tuning import Tuner

        todo = [network for network in networks if library.find(recipe, network) is None]
        if not todo:
            return {}
        library.prune(library.libraries_folder())
        failures: dict[Network, str] = {}
        if recipe.trials:
            tuner = Tuner(recipe, self.address, self.settings.seed)
            with closing(Crew([tuner], TUNING_SILENCE_S)) as tuners:
                failures |= _failed(tuners, todo)
        left = [network for network in todo if network not in failures]
        return failures | _failed(self._compilers(recipe), left)

    def _compilers(self, recipe: Recipe) -> Crew:
        """One for each core; idle while anything is timed."""
        from backends.tvm.crew import Crew
        from backends.tvm.measuring import Compiler

        if recipe not in self._compiling:
            self._compiling[recipe] = Crew([Compiler(recipe)] * (os.cpu_count() or 1), COMPILING_SILENCE_S)
        return self._compiling[recipe]


TUNING_SILENCE_S = 600.0
COMPILING_SILENCE_S = 900.0
"""Generous: what hangs there is a bug in TVM, not a board."""


def _whole(text: str, name: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"--{name} is a whole number, at least {least}, not {text!r}")
    return int(text)


def _failed(crew: Crew, networks: Sequence[Network]) -> dict[Network, str]:
    """Those of `networks` that `crew` cannot do, and why."""
    return {networks[i]: str(found) for i, found in crew.run(networks) if isinstance(found, CannotRun)}


def _check(failures: Mapping[Network, str]) -> None:
    from backends.tvm.measuring import title

    for network, why in failures.items():
        raise CannotRun(f"{title(network)}: {why}")


def _split(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    """`items` in at most `parts` runs of about equal length, none empty."""
    parts = max(1, min(parts, len(items)))
    ends = [round(i * len(items) / parts) for i in range(parts + 1)]
    return [items[a:b] for a, b in pairwise(ends) if a < b]
