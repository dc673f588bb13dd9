"""What every backend offers: the cost of a block in context, and the latency of a whole network.

A backend is a class found by name through the entry-point group ``hwbench.backends``. Its SDK is imported
inside its own methods only, so that listing backends costs nothing and never fails.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from compofa.blocks import Block
from compofa.errors import InputError, RunFailed, Unavailable

Network = tuple[Block, ...]

BATCH_OF_BLOCKS = 32
"""Measured together and written together: few enough to lose little, enough for drift to hit all alike."""


class BackendUnavailable(Unavailable):
    """A backend cannot run on this machine; the message says why and what to install."""


class CannotRun(RunFailed):
    """A network cannot be run on the target: it does not fit, or what compiles it gave up; says why."""


class BlocksFailed(RunFailed):
    """Some of the blocks asked for cannot be run on the target; the others can be asked for again.

    Args:
        reasons: each block that failed, and why, in one line.
    """

    def __init__(self, reasons: Mapping[Block, str]) -> None:
        block, reason = next(iter(reasons.items()))
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"{block}: {reason}{more}")
        self.reasons = dict(reasons)


SETTING = (str, int, float, type(None))
"""The types of what a target's versions and details say."""


@dataclass(frozen=True)
class Target:
    """What a number is *of*. Two latencies may be compared or summed only if their targets are equal.

    Args:
        backend: the backend's name.
        device: the processor or board, as the operating system or the target file names it.
        precision: number format of the weights and activations, such as ``fp32``.
        batch: images in one run.
        threads: worker threads of one run; 0 where the device has no such thing.
        versions: (package, version) of whatever decides the speed, sorted.
        details: further (name, value) settings that change the latency, sorted.
    """

    backend: str
    device: str
    precision: str = "fp32"
    batch: int = 1
    threads: int = 1
    versions: tuple[tuple[str, str], ...] = ()
    details: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; :meth:`from_dict` reads them back."""
        return {
            "backend": self.backend,
            "device": self.device,
            "precision": self.precision,
            "batch": self.batch,
            "threads": self.threads,
            "versions": dict(self.versions),
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Target:
        """The target that :meth:`to_dict` wrote.

        Raises:
            ValueError: a field is missing, unknown or of the wrong type.
        """
        try:
            target = cls(**fields)
            found = replace(
                target,
                versions=tuple(sorted(dict(target.versions).items())),
                details=tuple(sorted(dict(target.details).items())),
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"not a target: {error}") from error
        settings = (*found.versions, *found.details)
        texts = (found.backend, found.device, found.precision, *(name for name, _ in settings))
        if not all(isinstance(text, str) for text in texts):
            raise InputError("not a target: names are texts")
        if not all(type(count) is int and count >= 0 for count in (found.batch, found.threads)):
            raise InputError("not a target: batch and threads are whole numbers")
        if not all(isinstance(value, SETTING) for _, value in settings):
            raise InputError("not a target: versions and details are texts or numbers by name")
        return found

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        versions = "; " * bool(self.versions) + ", ".join(
            f"{name} {version}" for name, version in self.versions
        )
        return f"{self.device} ({self.backend}, {self.precision}, batch {self.batch}{threads}{versions})"


@dataclass(frozen=True)
class Measurement:
    """One latency, with what it rests on.

    Args:
        origin: ``measured`` on the target, ``modelled`` from a documented cycle model, or ``predicted``
            by a latency model.
        latency_ms: the median of `rounds_ms`, or the model's answer.
        low_ms, high_ms: 95 % bootstrap interval of that median; equal to `latency_ms` for a model; for a
            prediction, what a measurement would lie between 95 times of 100.
        rounds_ms: one time per round, each already a mean over an inner loop; empty for a model.
        noisy: the rounds spread more than the timing loop's limit, so the figure deserves little trust.
        cycles: clock cycles, for a cycle model.
        details: (name, value): what else was found: the same work timed in other ways (``alone_ms``), the
            conditions (``sm_clock_mhz``), the trials of tuning behind the code (``tuning_trials``).
    """

    origin: str
    latency_ms: float
    low_ms: float
    high_ms: float
    rounds_ms: tuple[float, ...] = ()
    noisy: bool = False
    cycles: int | None = None
    details: tuple[tuple[str, float | str], ...] = ()

    ORIGINS: ClassVar[tuple[str, ...]] = ("measured", "modelled", "predicted")


@dataclass(frozen=True)
class Settings:
    """How to run a network on a backend; a backend refuses what it cannot do with a ValueError."""

    precision: str = "fp32"
    batch: int = 1
    threads: int = 1
    seed: int = 0
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Option:
    """A setting of a backend's own: ``--name`` on the command line, `name` in ``Settings.options``.

    Args:
        name: a Python name; where the setting changes the latency, the target's details repeat it.
        help: what it does, for ``--help``.
        default: its value unless given; empty for none.
        choices: the values it can have; empty for any.
        metavar: stands for the value in the help of an option without choices.
    """

    name: str
    help: str
    default: str = ""
    choices: tuple[str, ...] = ()
    metavar: str = "VALUE"


Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""What is under way and how many steps it has; gives a function to call with each number of steps done."""


@contextmanager
def no_progress(label: str, total: int) -> Iterator[Advance]:
    """Tells nobody."""
    yield lambda steps: None


def nobody_hears(text: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Verdict:
    """Whether a block computes the right thing on a target.

    Args:
        block: which.
        error: largest difference from ONNX Runtime's output, relative to its largest value.
        instructions: that a run took, where an emulator counted them; not a time.
    """

    block: Block
    error: float
    instructions: int | None = None


@dataclass(frozen=True)
class Batch:
    """Blocks that were measured together, and the reasons of those that cannot be run."""

    entries: list[tuple[Block, Measurement]]
    failures: dict[Block, str] = field(default_factory=dict)


class Backend(ABC):
    """How long blocks and networks take on one target.

    Args:
        settings: how to run.

    Attributes:
        name: as given to ``--backend``.
        origin: of its answers, one of :data:`Measurement.ORIGINS`.
        default_precision: what it runs in unless told.
        options: the settings of its own that it takes.
        timing_s: seconds spent in the timing loop so far; None for a backend that does not time.
        progress: told of what takes long besides timing, such as compiling; may be replaced.
        say: told, in a line, what whoever measures should know; may be replaced.

    Raises:
        BackendUnavailable: :meth:`probe` gave a reason.
        ValueError: the backend cannot do what `settings` ask for.
    """

    name: ClassVar[str]
    origin: ClassVar[str] = "measured"
    default_precision: ClassVar[str] = "fp32"
    options: ClassVar[tuple[Option, ...]] = ()
    timing_s: float | None = None
    progress: Progress = staticmethod(no_progress)
    say: Callable[[str], None] = staticmethod(nobody_hears)

    def __init__(self, settings: Settings) -> None:
        self._check_options(settings.options)
        if reason := self.probe():
            raise BackendUnavailable(f"backend {self.name} is unavailable: {reason}")
        self.settings = settings

    @classmethod
    def _check_options(cls, given: Mapping[str, str]) -> None:
        options = {option.name: option for option in cls.options}
        for name, value in given.items():
            if name not in options:
                there = f"it has {', '.join(options)}" if options else "it has none"
                raise InputError(f"backend {cls.name} has no option {name}; {there}")
            if options[name].choices and value not in options[name].choices:
                there = ", ".join(options[name].choices)
                raise InputError(f"option {name} of backend {cls.name} is one of {there}, not {value!r}")

    def option(self, name: str) -> str:
        """The value of the option `name`: as given, or its default."""
        default = next(option.default for option in self.options if option.name == name)
        return self.settings.options.get(name, default)

    @classmethod
    def options_of(cls, target: Target) -> dict[str, str]:
        """The options with which `target` is measured, as far as its details tell them."""
        names = {option.name for option in cls.options}
        return {name: value for name, value in target.details if name in names}

    @property
    def chosen_options(self) -> dict[str, str]:
        """Those of :meth:`options_of` the target that are not the defaults."""
        defaults = {option.name: option.default for option in self.options}
        return {n: value for n, value in self.options_of(self.target).items() if value != defaults[n]}

    @classmethod
    @abstractmethod
    def probe(cls) -> str | None:
        """Why the backend cannot run here, with the remedy; None if it can. Never raises."""

    @property
    @abstractmethod
    def target(self) -> Target:
        """What this backend's latencies are of."""

    @property
    def caution(self) -> str | None:
        """What whoever builds a table must know about its numbers; None if nothing."""
        return None

    @property
    def reference(self) -> dict[str, Any] | None:
        """What the latencies rest on besides the clock, for the header of a table: the reference run beside them
        and its own latency. None for a backend that has no such thing."""
        return None

    def use_reference(self, reference: Any) -> None:  # noqa: B027
        """Measure in the milliseconds of a table: `reference` is what :attr:`reference` was when it was begun, None
        if it had none. Called before anything is measured.

        Raises:
            InputError: it is something else.
        """

    @abstractmethod
    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        """What each block adds to a network that holds it: the cost of calling the runtime left out.

        All of `blocks` are measured together, interleaved, so that drift hits all alike. Give a few dozen
        at a time: nothing is returned before all are done.

        Raises:
            BlocksFailed: some cannot be run; what was measured of the others is not given.
        """

    def as_they_come(self, blocks: Sequence[Block]) -> Iterator[Batch]:
        """:meth:`block_latencies` of any number of blocks, in batches as they are done."""
        for start in range(0, len(blocks), BATCH_OF_BLOCKS):
            yield self._attempt(blocks[start : start + BATCH_OF_BLOCKS])

    def _attempt(self, blocks: Sequence[Block]) -> Batch:
        failures: dict[Block, str] = {}
        while todo := [block for block in blocks if block not in failures]:
            try:
                return Batch(list(zip(todo, self.block_latencies(todo), strict=True)), failures)
            except BlocksFailed as failed:
                if not failed.reasons.keys() & set(todo):
                    raise  # it would go on for ever
                failures |= failed.reasons
        return Batch([], failures)

    @abstractmethod
    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        """End-to-end latency of each network, the cost of the call included; interleaved likewise.

        Raises:
            CannotRun: one of them cannot be run.
        """

    def verify(self, blocks: Sequence[Block], emulate: bool = False) -> Iterator[Verdict]:
        """Compare what each of `blocks` computes with ONNX Runtime; gives the verdicts as they come.

        Args:
            blocks: which.
            emulate: run them on an emulated processor instead of the target.

        Raises:
            BackendUnavailable: the emulator is not there.
            RuntimeError: a block computes something else.
            ValueError: the backend cannot tell.
        """
        raise InputError(f"backend {self.name} cannot verify what it computes; tvm can")
