"""What the worker of one device does: make networks ready, check what they compute, time them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from backends.base import CannotRun, Measurement, Network, Verdict
from backends.machine.clocks import Case, Reading
from backends.measuring.pairing import Pacer
from backends.measuring.reference import (
    CHECK_S,
    MEASURE_S,
    READING_RUNS,
    REFERENCE,
    Beside,
    Reference,
    at_quietest,
)
from backends.measuring.rotation import Bench
from backends.measuring.timing import TimingSettings
from backends.tvm.address import Address
from backends.tvm.crew import Beat, Gone, Trade
from backends.tvm.errors import first_line
from backends.tvm.library import Recipe, library
from compofa.blocks import Block

if TYPE_CHECKING:
    from backends.tvm.device import Device, Program

TOLERANCE = 1e-3
"""Largest difference from ONNX Runtime, relative to the largest output."""


@dataclass(frozen=True)
class Job:
    """Networks to time together; blocks are networks of one, of which the cost in context is wanted."""

    networks: tuple[Network, ...]
    blocks: bool


@dataclass(frozen=True)
class Done:
    """What came of a job.

    Args:
        measurements: by the index of the network in the job.
        timing_s: seconds spent timing.
        reference: what it takes on this device now; of the first job only.
        failures: likewise by index, why the others cannot be run.
    """

    measurements: dict[int, Measurement]
    timing_s: float
    reference: Reference | None = None
    failures: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Compiler(Trade):
    """Compiles a network unless it was before."""

    recipe: Recipe

    def __str__(self) -> str:
        return "a compiling process"

    def start(self, beat: Beat) -> Callable[[Network], None]:
        import tvm  # noqa: F401

        def work(network: Network) -> None:
            library(self.recipe, network)

        return work


@dataclass(frozen=True)
class OnDevice(Trade):
    """Runs code on a device of its own."""

    recipe: Recipe
    address: Address
    process: ClassVar[str]
    """What it is called where the device is this machine."""

    def __str__(self) -> str:
        return f"a board at {self.address}" if self.address.host else self.process

    @property
    def environment(self) -> dict[str, str]:
        return {"TVM_NUM_THREADS": str(self.recipe.threads), "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Measurer(OnDevice):
    """Measures."""

    process = "the measuring process"
    block_timing: TimingSettings
    network_timing: TimingSettings
    seed: int
    reference: Reference | None
    """None for a worker that only measures it."""

    def start(self, beat: Beat) -> Callable[[Job], Done]:
        from backends.tvm.device import Device

        device = Device(self.recipe.target, self.address, self.recipe.threads, beat)
        board = _OnBoard(self, device, beat)

        def work(job: Job) -> Done:
            try:
                return self._measure(job, board)
            except (CannotRun, ValueError):
                raise
            except Exception as error:
                if self.address.host:
                    raise Gone(f"went away: {first_line(error)}") from error
                raise

        return work

    def _measure(self, job: Job, board: _OnBoard) -> Done:
        """One network after the other is left out until all that are left compute what they should."""
        failures: dict[int, str] = {}
        while True:
            todo = {i: network for i, network in enumerate(job.networks) if i not in failures}
            try:
                found, timing_s = self._time(list(todo.values()), job.blocks, board)
            except WrongNumbers as wrong:
                blamed = {i: wrong.what for i, network in todo.items() if network == wrong.network}
                if not blamed:
                    raise  # what the others are compared with: it would go on for ever
                failures |= blamed
            else:
                return Done(dict(zip(todo, found, strict=True)), timing_s, board.take_reference(), failures)

    def _time(
        self, networks: Sequence[Network], blocks: bool, board: _OnBoard
    ) -> tuple[list[Measurement], float]:
        bench = Bench(board.case, board.beside, self.seed)
        if blocks:
            single: list[Block] = [block for (block,) in networks]
            found, timing_s = bench.blocks(single, self.block_timing)
        else:
            found, timing_s = bench.networks(networks, self.network_timing)
        trials = [library(self.recipe, network).trials for network in networks]
        return [
            replace(m, details=(*m.details, ("tuning_trials", n))) for m, n in zip(found, trials, strict=True)
        ], timing_s


class _OnBoard:
    """Cases and the reference on the device of a :class:`Measurer`."""

    def __init__(self, measurer: Measurer, device: Device, beat: Beat) -> None:
        self.measurer, self.device, self.beat = measurer, device, beat
        known = measurer.reference
        # The reference is not tuned: what is fast or slow about it is the same beside everything.
        untuned = replace(measurer.recipe, trials=0)
        pacer = Pacer(self._case(untuned, REFERENCE, measurer.seed), READING_RUNS)
        self._now: Reference | None = at_quietest(pacer, CHECK_S if known else MEASURE_S)
        self.beside = Beside(pacer, known or self._now)

    def case(self, network: Network, seed: int) -> Case:
        """Of a network, which computes what it should."""
        return self._case(self.measurer.recipe, network, seed)

    def _case(self, recipe: Recipe, network: Network, seed: int) -> Case:
        program, _ = checked_program(recipe, self.device, network, seed)
        self.beat()
        case = program.case()

        def living(repeats: int) -> Reading:
            reading = case(repeats)
            self.beat()
            return reading

        return living

    def take_reference(self) -> Reference | None:
        """What the reference takes here; None after the first call."""
        now, self._now = self._now, None
        return now


@dataclass(frozen=True)
class Verifier(OnDevice):
    """Compares what blocks compute with ONNX Runtime, on the device or emulated."""

    process = "the verifying process"
    seed: int
    emulate: bool

    def start(self, beat: Beat) -> Callable[[Sequence[Block]], list[Verdict]]:
        from backends.tvm.device import Device

        if self.emulate:
            return self._emulated
        device = Device(self.recipe.target, self.address, self.recipe.threads, beat)

        def work(blocks: Sequence[Block]) -> list[Verdict]:
            found = []
            for block in blocks:
                found.append(Verdict(block, checked_program(self.recipe, device, (block,), self.seed)[1]))
                beat()
            return found

        return work

    def _emulated(self, blocks: Sequence[Block]) -> list[Verdict]:
        from backends.tvm.emulator import emulate

        given = [random_input((block,), self.recipe.batch, self.seed) for block in blocks]
        expected = [reference(self.recipe, (block,), x) for block, x in zip(blocks, given, strict=True)]
        libraries = [library(self.recipe, (block,)).path for block in blocks]
        shapes = [y.shape for y in expected]
        runs = emulate(self.recipe.target, list(zip(libraries, given, shapes, strict=True)))
        return [
            Verdict(block, check((block,), y, run.output), run.instructions)
            for block, y, run in zip(blocks, expected, runs, strict=True)
        ]


class WrongNumbers(CannotRun):
    """A compiled `network` computes something else than ONNX Runtime."""

    def __init__(self, network: Network, what: str) -> None:
        super().__init__(f"{title(network)}: {what}")
        self.network, self.what = network, what


def title(network: Network) -> str:
    """Of a network, for a message."""
    return " ".join(map(str, network)) if len(network) < 3 else f"a network of {len(network)} blocks"


def checked_program(recipe: Recipe, device: Device, network: Network, seed: int) -> tuple[Program, float]:
    """The compiled network on the device, and how far its output is from that of ONNX Runtime.

    Raises:
        WrongNumbers: further than :data:`TOLERANCE`.
    """
    given = random_input(network, recipe.batch, seed)
    program = device.load(library(recipe, network).path, given)
    return program, check(network, reference(recipe, network, given), program.output())


def random_input(network: Network, batch: int, seed: int) -> NDArray[np.float32]:
    """Shape (batch, *input of the first block)."""
    shape = (batch, *network[0].in_shape)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def reference(recipe: Recipe, network: Network, given: NDArray[np.float32]) -> NDArray[np.float32]:
    """What ONNX Runtime computes."""
    from backends.onnxruntime_cpu import open_session

    found: NDArray[np.float32] = open_session(recipe.graph(network), threads=1).run(None, {"x": given})[0]
    return found


def check(network: Network, expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """The largest difference, relative to the largest value expected.

    Raises:
        WrongNumbers: it exceeds :data:`TOLERANCE`, or the shapes differ, or a value is not finite.
    """
    if expected.shape != found.shape:
        raise WrongNumbers(network, f"the output has shape {found.shape}, not {expected.shape}")
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error <= TOLERANCE:
        raise WrongNumbers(
            network, f"the output differs from ONNX Runtime's by {error:.2g}, more than {TOLERANCE:g}"
        )
    return error
